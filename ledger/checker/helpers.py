"""Makes CBOR, Ed25519's arithmetic, Merkle trees, the draw and the split importable: those of the golden vectors' reader, which shares
no code with the ledger. To be imported before everything else here."""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "crds/protocol/vectors"))
