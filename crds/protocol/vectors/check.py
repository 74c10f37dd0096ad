#!/usr/bin/env python3
"""Recomputes every golden vector from its inputs, after the words of the protocol and not after the Rust code.

    python3 crds/protocol/vectors/check.py

Needs nothing but Python 3.10 or later: hashes come from hashlib, CBOR, ed25519, Merkle trees, draws and splits from the files beside.
Exit 0: everything agrees. Exit 1: something differs, and it says what.
"""

import fractions
import json
import math
import pathlib
import re
import struct
import sys

sys.dont_write_bytecode = True

import canonical
import ed25519
import formats
import formulas
import trees
from canonical import decode, encode, framed, sha3
from formats import World

HERE = pathlib.Path(__file__).resolve().parent
FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.json"))}
COUNT = 0


class Differs(Exception):
    """A value is not what the words say."""


def same(what: str, have, want) -> None:
    global COUNT
    COUNT += 1
    have, want = (value.hex() if isinstance(value, bytes) else value for value in (have, want))
    if have != want:
        raise Differs(f"{what}: the vectors have {str(have)[:300]}, the words give {str(want)[:300]}")


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def encoded(what: str, shape, value, have: str) -> bytes:
    """Checks an encoding both ways: the words give these bytes, and the strict decoder reads them back."""
    native = shape[0](value)
    bytes_ = encode(native)
    same(what, have, bytes_)
    same(f"{what}, decoded", decode(bytes_) == native and shape[1](decode(bytes_)), True)
    return bytes_


def sha256(data: bytes) -> bytes:
    return canonical.hashlib.sha256(data).digest()


def keys() -> None:
    chain = sha3(encode(formats.GENESIS[0](FILES["ids"]["genesis"])))[:16].hex()
    World.chain = f"orion-{chain}"
    for key in FILES["keys"]["keys"]:
        seed = raw(key["seed"])
        public = ed25519.public_key(seed)
        same(f"public key of {key['name']}", key["public"], public)
        same("a bare signature", key["signature"], ed25519.sign(seed, FILES["keys"]["message"].encode()))
        World.keys[key["name"]] = (seed, public)


def part(value):
    if "fill" in value:
        return bytes([value["fill"]]) * value["times"]
    ((kind, x),) = value.items()
    return {"u64": lambda: x, "text": lambda: x, "bytes": lambda: raw(x), "list": lambda: [part(y) for y in x]}[kind]()


def frames() -> None:
    for case in FILES["frames"]:
        frame = canonical.frame(case["domain"], *map(part, case["parts"]))
        if case["frame"] is not None:
            same(f"frame {case['domain']}", case["frame"], frame)
        same(f"digest of frame {case['domain']}", case["sha3"], sha3(frame))
        same("a frame, decoded", encode(decode(frame)), frame)


def refused() -> None:
    shapes = {"Settle": formats.SETTLE, "LeaseTail": formats.STATEMENTS["LeaseTail"][1]}

    def reads(case) -> bool:
        try:
            return shapes[case["type"]][1](decode(raw(case["bytes"])))
        except canonical.Refused:
            return False

    for case in FILES["refused"]["accepted"]:
        same("a good encoding", reads(case), True)
    for case in FILES["refused"]["refused"]:
        same(f"an encoding with {case['why']}", reads(case), False)


def ids() -> None:
    have, chain = FILES["ids"], World.chain
    genesis = encoded("genesis", formats.GENESIS, have["genesis"], have["genesis_bytes"])
    same("chain id", have["chain"], "orion-" + sha3(genesis)[:16].hex())
    same("log origin", have["log_origin"], "orion.dev/" + have["chain"])
    policy = encode(formats.POLICY[0](have["genesis"]["policy"]))
    same("policy digest", have["policy_digest"], framed("orion/policy/v1", policy))
    job = have["job"]
    same("job id", job["id"], framed("orion/job/v1", chain, job["cluster"], job["uid"]))
    same("no job", have["no_job"], bytes(32))
    for account in have["accounts"]:
        owner = [part(x) for x in account["owner"]]
        same(f"account {account['kind']}", account["id"], framed("orion/account/v1", chain, account["kind"], owner))
    for tx in have["transactions"]:
        same("transaction id", tx["id"], tx_id(tx["kind"], tx))
    x = have["unbonding"]
    same("what is unbonding", x["digest"], framed("orion/unbonding/v1", raw(x["signer"]), raw(x["id"])))
    x = have["preflight"]
    inputs = [raw(digest) for digest in x["inputs"]]
    same("preflight digest", x["digest"], framed("orion/preflight/v1", raw(x["job"]), raw(x["workload"]), inputs))
    x = have["aggregate"]
    same("aggregate digest", x["digest"], framed("orion/aggregate/v1", raw(x["task"]), raw(x["manifest"])))


def tx_id(kind: str, of) -> bytes:
    return framed("orion/id/v1", kind, raw(of["job"]), of["sequence"], of["try"])[:16]


def names() -> None:
    have = FILES["names"]
    label = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
    for name in have["good"]:
        same(f"name {name!r}", bool(label.fullmatch(name)), True)
    for name in have["bad"]:
        same(f"name {name!r}", bool(label.fullmatch(name)), False)
    x = have["subjects"]
    p, w, uid, lease = x["provider"], x["worker"], x["job_uid"], x["lease"]
    want = {
        "work_stream": f"WORK_{p}", "work": f"work.{p}.{w}", "work_all": f"work.{p}.*", "commit_stream": f"COMMIT_{p}",
        "commit": f"commit.{p}.{w}.{uid}.{lease[:32]}", "commit_all": f"commit.{p}.*.*.*",
        "commit_job": f"commit.{p}.*.{uid}.*", "heartbeat": f"hb.{p}.{w}", "heartbeats": "hb.*.*", "bucket_in": "in",
        "bucket_out": f"out_{p}", "bucket_held": "held", "bucket_results": "results", "bucket_stream": f"OBJ_out_{p}",
        "work_of_the_platform": "WORK_platform", "object": lease,
    }
    same("subjects", {key: x[key] for key in want}, want)
    same("reasons", have["reasons"], formats.REASONS)
    same("receipt codes", have["codes"], [code for code in formats.CODES if not code.startswith("Free")])
    kinds = (
        "RegisterProvider OpenEpoch Deposit OpenEscrow CloseRound RecordVerdict Settle Close TopUp Approved Withdraw "
        "Reserve Release Stake Unstake Rotate Issuers PublishPolicy Params Slash"
    ).split()
    same("kinds of transactions", have["transaction_kinds"], kinds)


def npy() -> None:
    descr = dict(zip(formats.DTYPES, "|u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 <f4 <f8".split()))
    scalar = dict(zip(formats.DTYPES, "uchar char ushort short uint int ulong long float double".split()))
    for case in FILES["npy"]:
        shape = tuple(case["shape"])
        text = repr({"descr": descr[case["dtype"]], "fortran_order": False, "shape": shape})[:-1] + ", }"
        # As NumPy writes it: the first dimension may grow to 21 digits in place; data starts at a multiple of 64.
        text += " " * (21 - len(str(shape[0])) if shape else 0)
        text += " " * (64 - (10 + len(text) + 1) % 64) + "\n"
        same(f"npy header of {shape}", case["header"], b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        size = int(descr[case["dtype"]][2])
        for dim in shape:
            size *= dim
        same(f"data of {shape}", case["data_bytes"], size if size < 1 << 63 else None)
        same("OpenCL type", case["opencl"], scalar[case["dtype"]])


def task() -> None:
    have = FILES["task"]
    objects = (
        ("workload", "orion/workload/v1", formats.WORKLOAD),
        ("model", "orion/workload/v1", formats.WORKLOAD),
        ("task", "orion/task/v1", formats.TASK_SPEC),
    )
    for name, domain, shape in objects:
        frame = canonical.frame(domain, encode(shape[0](have[name])))
        same(f"{name} object", have[f"{name}_object"], frame)
        same(f"{name} digest", have[f"{name}_digest"], sha3(frame))
    same("the task's workload", have["task"]["workload"], have["workload_digest"])
    for case in have["tables"]:
        table = case["table"]
        n, items, shard, work = (table[x] for x in ("items_per_unit", "items", "units_per_shard", "work_per_item"))
        # Unit u covers the items [u*n, min((u+1)*n, items)).
        units = [(u * n, min((u + 1) * n, items)) for u in range(-(-items // n))]
        same("units", case["units"], len(units))
        same("work", case["work"], items * work)
        shards = []
        for first in range(0, len(units), shard):
            mine = units[first : first + shard]
            start, end = mine[0][0], mine[-1][1]
            shards.append({"first_unit": first, "units": len(mine), "first_item": start, "items": end - start, "work": (end - start) * work})
        same("shards", case["shards"], shards)


def units() -> None:
    have = FILES["units"]
    job_salt = framed("orion/salt/v1", raw(have["salt_key"]), raw(have["job"]))
    same("job salt", have["job_salt"], job_salt)
    same("task of the units", have["task_digest"], FILES["task"]["task_digest"])
    leaves = []
    for unit in have["units"]:
        outputs = []
        for spec, rows in zip(have["outputs"], map(raw, unit["rows"])):
            rest = spec["shape"][1:]
            row_bytes = int(re.search(r"\d+", spec["dtype"])[0]) // 8
            for dim in rest:
                row_bytes *= dim
            outputs.append([spec["name"], spec["dtype"], [len(rows) // row_bytes, *rest], rows])
        digest = framed("orion/unit/v1", raw(have["task_digest"]), unit["unit"], outputs)
        same(f"digest of unit {unit['unit']}", unit["digest"], digest)
        salt = framed("orion/unit-salt/v1", job_salt, unit["unit"])
        same("unit salt", unit["salt"], salt)
        leaves.append(sha3(b"\x00" + salt + unit["unit"].to_bytes(8, "big") + digest))
        same("leaf", unit["leaf"], leaves[-1])
    tree_vectors(have["trees"], sha3, leaves)


def layouts() -> None:
    """Rows as a device leaves them: what is kept and hashed of them, and the files of the result."""
    have = FILES["layouts"]
    task_object = canonical.frame("orion/task/v1", encode(formats.TASK_SPEC[0](have["task"])))
    same("task with layouts", have["task_object"], task_object)
    outputs, table = have["task"]["outputs"], have["task"]["units"]
    code = dict(zip(formats.DTYPES, "BbHhIiQqfd"))
    numbers = lambda dtype, data: [x for (x,) in struct.iter_unpack("<" + code[dtype], data)]
    size = lambda output, dims: struct.calcsize(code[output["dtype"]]) * math.prod(dims)
    kept, copies, lengths = ([[] for _ in outputs] for _ in range(3))
    for unit in have["units"]:
        device = [raw(rows) for rows in unit["device"]]
        hashed = []
        for at, output in enumerate(outputs):
            ((layout, (argument,)),) = (output["layout"] or {"Rows": [None]}).items()
            shape, rows = output["shape"], device[at]
            if layout == "Unit":
                dims = shape
                copies[at].append(numbers(output["dtype"], rows))
            elif layout == "Lengths":
                entry, item = size(output, shape[2:]), size(output, shape[1:])
                counts = numbers(outputs[argument]["dtype"], device[argument])
                lengths[at] += counts
                rows = b"".join(rows[i * item : i * item + count * entry] for i, count in enumerate(counts))
                dims = [sum(counts), *shape[2:]]
            else:
                dims = [min(table["items_per_unit"], table["items"] - unit["unit"] * table["items_per_unit"]), *shape[1:]]
            same("bytes of the dimensions", len(rows), size(output, dims))
            same(f"{output['name']} of unit {unit['unit']}", unit["kept"][at], rows)
            kept[at].append(rows)
            hashed.append([output["name"], output["dtype"], dims, rows])
        same(f"digest of unit {unit['unit']}", unit["digest"], framed("orion/unit/v1", sha3(task_object), unit["unit"], hashed))
    files = []
    for at, output in enumerate(outputs):
        ((layout, (combine,)),) = (output["layout"] or {"Rows": [None]}).items()
        name, dtype, shape, rows = output["name"], output["dtype"], output["shape"], b"".join(kept[at])
        if layout == "Rows":
            files.append([name, dtype, shape, rows])
        elif layout == "Lengths":
            files.append([name + ".values", dtype, [sum(lengths[at]), *shape[2:]], rows])
            ends = [sum(lengths[at][:item]) for item in range(table["items"] + 1)]
            files.append([name + ".offsets", "int64", [table["items"] + 1], struct.pack(f"<{len(ends)}q", *ends)])
        else:
            combined = struct.pack(f"<{math.prod(shape)}{code[dtype]}", *(combined_of(combine, dtype, list(xs)) for xs in zip(*copies[at])))
            files.append([name, dtype, shape, combined])
            files.append([name + ".units", dtype, [len(copies[at]), *shape], rows])
    same("files", have["files"], [{"name": n, "dtype": d, "shape": s, "data": x.hex()} for n, d, s, x in files])


def combined_of(combine: str, dtype: str, xs: list):
    if combine != "Sum":
        return {"Min": min, "Max": max}[combine](xs)
    if dtype.startswith("float"):
        total = 0.0
        for x in xs:
            # One rounding a step: a sum of two float32 is exact in a float64, or rounds as if it were.
            total = struct.unpack("<f", struct.pack("<f", total + x))[0]
        return total
    bits = int(dtype.lstrip("uint"))
    total = sum(xs) % (1 << bits)
    return total - (1 << bits) if dtype.startswith("int") and total >> (bits - 1) else total


def tree_vectors(cases, hashed, leaves) -> None:
    for case in cases:
        size = case["size"]
        root = trees.root(hashed, leaves[:size])
        same(f"root of {size}", case["root"], root)
        same("number of paths", len(case["paths"]), size)
        for at, path in enumerate(case["paths"]):
            want = trees.path(hashed, at, leaves[:size])
            same(f"path of {at} in {size}", path, [node.hex() for node in want])
            same("root of the path", root, trees.root_of_path(hashed, leaves[at], at, size, want))


def log_tree() -> None:
    have = FILES["log_tree"]
    leaves = [sha256(b"\x00" + raw(entry)) for entry in have["entries"]]
    same("SHA-256 leaves", have["leaves"], [leaf.hex() for leaf in leaves])
    tree_vectors(have["trees"], sha256, leaves)


def statements() -> None:
    for case in FILES["statements"]:
        domain, shape = formats.STATEMENTS[case["type"]]
        what = f"{case['type']} ({case['name']})"
        same(f"domain of {what}", case["domain"], domain)
        payload = encoded(what, shape, case["signed"]["value"], case["payload"])
        same(f"digest of {what}", case["digest"], framed(domain, World.chain, payload))
        encoded(f"{what}, signed", formats.signed(domain, shape), case["signed"], case["wire"])


def messages() -> None:
    for case in FILES["messages"]:
        encoded(f"message {case['type']}", formats.MESSAGES[case["type"]], case["message"], case["bytes"])


def transactions() -> None:
    for case in FILES["transactions"]:
        kind, envelope = case["kind"], case["envelope"]
        payload = encoded(kind, formats.TRANSACTION, case["transaction"], case["payload"])
        same(f"payload in the envelope of {kind}", envelope["value"]["payload"], payload)
        same(f"signer of {kind}", envelope["value"]["signer"], World.keys[envelope["signer"]][1])
        same(f"id of {kind}", envelope["value"]["id"], tx_id(kind, case["id_of"]))
        encoded(f"envelope of {kind}", formats.ENVELOPE, envelope, case["wire"])
        value = encode(formats.STATEMENTS["Envelope"][1][0](envelope["value"]))
        same(f"digest of {kind}", case["digest"], framed("orion/tx/v1", World.chain, value))
    by_kind = {case["kind"]: case["transaction"][case["kind"]][0] for case in FILES["transactions"] if case["kind"] != "Unstake"}
    approved = next(case for case in FILES["transactions"] if case["kind"] == "Approved")
    sent, within = approved["envelope"]["value"], approved["transaction"]["Approved"][0]
    action = framed("orion/action/v1", raw(sent["signer"]), raw(sent["id"]), raw(within["inner"])).hex()
    same("what is approved", [one["value"]["action"] for one in within["approvals"]], [action, action])
    reserved = next(case for case in FILES["transactions"] if case["kind"] == "Reserve")["envelope"]["value"]
    reserve = framed("orion/reserve/v1", raw(reserved["signer"]), raw(reserved["id"])).hex()
    same("what is released", by_kind["Release"]["reserve"], reserve)
    published = [case["transaction"]["PublishPolicy"][0] for case in FILES["transactions"] if case["kind"] == "PublishPolicy"]
    for one in published:
        same("a published policy, read", formats.POLICY[1](decode(raw(one["policy"]))), True)
    same("the policy of new jobs", by_kind["Params"]["policy"], framed("orion/policy/v1", raw(published[-1]["policy"])).hex())
    same("the task in the escrow", by_kind["OpenEscrow"]["task"], FILES["task"]["task_object"])
    verdict(by_kind["CloseRound"], by_kind["RecordVerdict"])


def lease_digest(signed) -> str:
    return framed("orion/lease/v1", World.chain, encode(formats.LEASE_CORE[0](signed["value"]))).hex()


def verdict(closed, recorded) -> None:
    """That drawn units and voters are the draw's, and that paths lead to the roots that were committed to."""
    entries = {lease_digest(entry["lease"]): entry for entry in closed["entries"]}
    draws = FILES["draws"]
    same("the round", recorded["round"], draws["round"]["id"])
    owners = {key: owner for key, owner in draws["validators"][0]["eligible"]}
    same("eligible", closed["eligible"], sorted(owners))
    for shard in recorded["shards"]:
        entry = entries[shard["lease"]]
        lease, commitment = entry["lease"]["value"], entry["commitment"]["value"]
        draw = {"seed": draws["seed"]["seed"], "shard": lease["shard"], "attempt": lease["token"]["attempt"]}
        places = drawn_places(draw, commitment["units"], FILES["task"]["task"]["audits_per_shard"])
        same("drawn units", [x["unit"] for x in shard["drawn"]], [lease["first_unit"] + place for place in places])
        for x, place in zip(shard["drawn"], places):
            leaf = sha3(b"\x00" + raw(x["salt"]) + x["unit"].to_bytes(8, "big") + raw(x["digest"]))
            root = trees.root_of_path(sha3, leaf, place, commitment["units"], [raw(node) for node in x["path"]])
            same("root of a drawn unit", commitment["root"], root)
        order, count = drawn_validators(draw, list(owners.items()), owners[lease["provider"]])
        for j, vote in enumerate(shard["votes"]):
            same("voter", World.keys[vote["signer"]][1], raw(order[j % count]))
            same("what was voted on", [x["unit"] for x in vote["value"]["units"]], [shard["drawn"][j]["unit"]])


def leaves() -> None:
    hashes = []
    for case in FILES["leaves"]["leaves"]:
        leaf = encoded("leaf", formats.LEAF, case["leaf"], case["bytes"])
        hashes.append(sha256(b"\x00" + leaf))
        same("hash of a leaf", case["sha256"], hashes[-1])
    same("root of the log", FILES["leaves"]["root"], trees.root(sha256, hashes))


def answers() -> None:
    for case in FILES["answers"]:
        encoded(f"answer {case['type']}", formats.ANSWERS[case["type"]], case["value"], case["bytes"])


def drawn_places(draw, units: int, audits: int) -> list[int]:
    return formulas.places(raw(draw["seed"]), draw["shard"], draw["attempt"], units, audits)


def drawn_validators(draw, eligible, worker_owner: str):
    return formulas.validators(raw(draw["seed"]), draw["shard"], draw["attempt"], dict(eligible), worker_owner)


def draws() -> None:
    have = FILES["draws"]
    x = have["round"]
    same("round id", x["id"], formulas.round_id(raw(x["job"]), [raw(one) for one in x["commitments"]]))
    x = have["seed"]
    same("seed", x["seed"], formulas.seed(World.chain, x["size"], raw(x["root"]), raw(x["round"])))
    for case in have["places"]:
        same("drawn places", case["places"], drawn_places(case, case["units"], case["audits"]))
    for case in have["validators"]:
        order, owners = drawn_validators(case, case["eligible"], case["worker_owner"])
        same("drawn validators", case["order"], order)
        same("number of owners", case["owners"], owners)
        # The j-th drawn unit goes to owner j mod (number of owners).
        same("who is asked first", case["first_asked"], [order[j % owners] if order else None for j in range(8)])


def money() -> None:
    have = FILES["money"]
    for case in have["splits"]:
        same(f"split of {case['pool']}", case["shares"], formulas.split(case["pool"], case["weights"]))
    for case in have["prices"]:
        same("price", case["amount"], amount(case["work"] * case["price"] // 10**6))
    for case in have["fees"]:
        same("fee", case["fee"], amount(case["amount"] * case["ppm"] // 10**6))
    for case in have["escrows"]:
        same("escrow", case["escrow"], escrow(case))
    for case in have["credits"]:
        good = re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", case["text"])
        micro = int(fractions.Fraction(case["text"]) * 10**6) if good else None
        same(f"credits {case['text']!r}", case["micro"], micro)
        if good:
            written = case["written"]
            same("credits, written", fractions.Fraction(written) * 10**6, micro)
            same("credits, as short as can be", bool(re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", written)), True)


def amount(x: int):
    return x if x < 1 << 63 else None


def escrow(case):
    """T of all work + worst-case audits (4 x shards x min(k, n) x the largest unit's work), which may be paid at a part of the
    price, + fee; of a pool the work alone; None beyond 63 bits."""
    table, price = case["table"], case["price"]
    units = -(-table["items"] // table["items_per_unit"])
    shards = -(-units // table["units_per_shard"])
    same("shards", case["shards"], shards)
    largest = min(table["items"], table["items_per_unit"]) * table["work_per_item"]
    work = table["items"] * table["work_per_item"] * price // 10**6
    drawn = min(case["audits_per_shard"], table["units_per_shard"])
    if case["pool"]:
        return amount(work)
    part = 10**6 if case["validator_ppm"] is None else case["validator_ppm"]
    audits = 4 * shards * drawn * largest * price * part // 10**12
    return amount(work + audits + (work + audits) * case["fee_ppm"] // 10**6)


def main() -> int:
    sections = [
        keys, frames, refused, ids, names, npy, task, units, layouts, log_tree, statements, messages, transactions, leaves, answers,
        draws, money,
    ]
    assert sorted(section.__name__ for section in sections) == sorted(FILES), "a file that nobody checks"
    failed = 0
    for section in sections:
        before = COUNT
        try:
            section()
            print(f"{section.__name__}: {COUNT - before} values agree")
        except (Differs, AssertionError, KeyError, ValueError, TypeError, canonical.Refused) as error:
            failed += 1
            print(f"{section.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{COUNT} values checked, {failed} of {len(sections)} sections differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
