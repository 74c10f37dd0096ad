"""Whose keys do what, which were replaced, and Rotate. A lease says its epoch and no time, so operators are told apart by epoch; a
key that has had a role never gets another one."""

from books import require
from stakes import take_back

OPERATOR, PLATFORM, PROVIDER, CHECKPOINT = range(4)


class Keys:
    def __init__(self, genesis):
        # Each with the first epoch that it may open; the last of the platform's is in force.
        self.operators, self.platforms = [(0, genesis.operator)], [genesis.platform]
        # By replaced key: whether it is lost, and the key in its place.
        self.revoked = {}

    def operator_at(self, epoch: int) -> bytes:
        return next(key for first, key in reversed(self.operators) if first <= epoch)

    def next_operator(self) -> bytes:
        return self.operators[-1][1]

    def custodian(self, epoch: int) -> bytes:
        """Who speaks for the platform's money."""
        key = self.operator_at(epoch)
        return self.next_operator() if key in self.revoked else key

    def platform(self) -> bytes:
        return self.platforms[-1]

    def is_lost(self, key: bytes) -> bool:
        return self.revoked.get(key, (False,))[0]

    def heir(self, key: bytes) -> bytes:
        while key in self.revoked:
            key = self.revoked[key][1]
        return key

    def knows(self, key: bytes) -> bool:
        return key in self.revoked or key in self.platforms or any(key == one for _, one in self.operators)

    def revoke(self, old: bytes, heir: bytes, lost: bool) -> None:
        before, heir = self.revoked.get(old, (False, heir))
        self.revoked[old] = (before or lost, heir)

    def epoch_opened(self) -> None:
        if len(self.operators) > 1:
            self.revoke(self.operators[-2][1], self.operators[-1][1], False)

    def rotate_operator(self, epoch: int, new: bytes, lost: bool) -> None:
        if self.operators[-1][0] > epoch:
            self.revoke(self.operators.pop()[1], new, lost)
        for _, key in self.operators if lost else []:
            self.revoke(key, new, True)
        self.operators.append((epoch + 1, new))


def has_role(state, key: bytes) -> bool:
    named = key == state.genesis.checkpoint or key in state.issuers[1] or key in state.providers
    return named or state.keys.knows(key)


def owner_of(state, tx):
    """Whose word a rotation needs beside the issuers'."""
    if tx.role != PROVIDER:
        return None
    return state.keys.custodian(state.epoch) if tx.lost else tx.old


def rotate(state, tx, sent):
    keys = state.keys
    require(tx.role != CHECKPOINT, "CheckpointKeyFixed")
    require(tx.old not in keys.revoked, "Revoked")
    if tx.role == PROVIDER:
        require(not keys.knows(tx.old), "KeyInUse")
        require(tx.old in state.providers, "NoSuchKey")
    else:
        require(tx.old == (keys.next_operator() if tx.role == OPERATOR else keys.platform()), "NoSuchKey")
    require(not has_role(state, tx.new) and tx.old not in state.issuers[1], "KeyInUse")
    transfers = take_back(state, tx.old, sent)
    if tx.role == OPERATOR:
        keys.rotate_operator(state.epoch, tx.new, tx.lost)
    else:
        if tx.role == PLATFORM:
            keys.platforms.append(tx.new)
        else:
            state.providers[tx.new] = state.providers[tx.old]
        keys.revoke(tx.old, tx.new, tx.lost)
    return transfers
