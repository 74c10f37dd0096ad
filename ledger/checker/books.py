"""Double entry: balances by account and kind, sums by kind, sets of moves that happen whole or not at all."""

from canonical import framed

ISSUANCE, CONSUMER, ESCROW, VESTING, AVAILABLE, TREASURY, STAKE, UNBONDING, SLASH_POOL = range(9)
# The sum that an account of each kind counts in.
SUMS = {
    CONSUMER: "consumers", ESCROW: "escrows", VESTING: "vesting", AVAILABLE: "providers", TREASURY: "treasury",
    STAKE: "stakes", UNBONDING: "unbonding", SLASH_POOL: "slash_pool",
}
OWNERS = {
    ISSUANCE: "issuance", ESCROW: "escrow", VESTING: "provider.vesting", AVAILABLE: "provider.available",
    TREASURY: "treasury", STAKE: "provider.stake", UNBONDING: "provider.unbonding", SLASH_POOL: "slash_pool",
}
MAX_SUPPLY = (1 << 63) - 1
MAX = (1 << 64) - 1


class No(Exception):
    """A rule refuses, with this code."""

    def __init__(self, code: str):
        super().__init__(code)
        self.code = code


def require(holds: bool, code: str) -> None:
    if not holds:
        raise No(code)


class Books:
    def __init__(self, chain: str):
        self.chain = chain
        # By (account id, kind); no zeros.
        self.balances, self.held = {}, {}
        self.sums = {name: 0 for name in ("deposited", *SUMS.values(), "withdrawn")}
        self.changed = set()

    def place(self, kind: int, *owner: bytes):
        return framed("orion/account/v1", self.chain, OWNERS[kind], list(owner)), kind

    def balance(self, place) -> int:
        return self.balances.get(place, 0)

    def move(self, moves):
        """Does all of (from, to, amount) in order, or none; gives the transfers of a receipt."""
        after, sums, transfers = {}, dict(self.sums), []
        for source, target, amount in moves:
            if amount == 0:
                continue
            if source[1] == ISSUANCE:
                sums["deposited"] += amount
                require(sums["deposited"] <= MAX_SUPPLY, "Overflow")
            else:
                left = after.get(source, self.balance(source)) - amount
                require(left >= self.held.get(source, 0), "InsufficientCredits")
                after[source] = left
                sums[SUMS[source[1]]] -= amount
            if target[1] == ISSUANCE:
                sums["withdrawn"] += amount
            else:
                after[target] = after.get(target, self.balance(target)) + amount
                sums[SUMS[target[1]]] += amount
            transfers.append((source[0], target[0], amount))
        self.sums = sums
        for place, balance in after.items():
            self.write(self.balances, place, balance)
        return transfers

    def write(self, where, place, amount: int) -> None:
        self.changed.add(place)
        where.pop(place, None)
        if amount:
            where[place] = amount

    def hold(self, place, amount: int) -> None:
        held = self.held.get(place, 0) + amount
        require(held <= MAX, "Overflow")
        require(held <= self.balance(place), "InsufficientCredits")
        self.write(self.held, place, held)

    def let_go(self, place, amount: int) -> None:
        self.write(self.held, place, self.held.get(place, 0) - amount)

    def state_hash(self, previous: bytes) -> bytes:
        """Chains what changed since the last one, ascending; what is held back ends a row where there is something."""
        rows = []
        for place in sorted(self.changed):
            held = self.held.get(place, 0)
            rows.append([place[0], place[1], self.balance(place)] + ([held] if held else []))
        self.changed = set()
        return framed("orion/ledger-state/v1", previous, rows)

    def wrong(self) -> str | None:
        """What does not hold of balances and sums."""
        sums = {name: 0 for name in SUMS.values()}
        for (_, kind), balance in self.balances.items():
            sums[SUMS[kind]] += balance
        if any(self.sums[name] != value for name, value in sums.items()):
            return f"the balances sum to {sums}, the seal says {self.sums}"
        if self.sums["deposited"] - self.sums["withdrawn"] != sum(sums.values()):
            return f"deposits less withdrawals are not the sum of all accounts: {self.sums}"
        if any(held > self.balance(place) for place, held in self.held.items()):
            return "more is held back than there is"
        return None
