# SPDX-License-Identifier: Apache-2.0
"""Writes the archives that NpzTest reads: python3 numpy_files.py FOLDER, with NumPy 1.26 or newer.

Beside each array stands what it must be read as: NAME.value, in float64 or int64.
"""

import io
import sys

import numpy as np

arrays = {}


def add(name, a):
    arrays[name] = a
    arrays[name + ".value"] = np.array(a, order="C").astype(np.float64 if a.dtype.kind == "f" else np.int64)


for code in ["f8", "f4", "f2"]:
    a = np.array([[0.5, -2.0, np.inf], [np.nan, -0.0, 60000.0]])
    add(code + ".little", a.astype("<" + code))
    add(code + ".big", a.astype(">" + code))
    add(code + ".fortran", np.asfortranarray(a.astype(">" + code)))
for code in ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]:
    info = np.iinfo(code)
    a = np.array([info.min, 1, min(info.max, 2**63 - 1)])
    add(code + ".little", a.astype("<" + code))
    add(code + ".big", a.astype(">" + code))
    add(code + ".fortran", np.asfortranarray(np.stack([a, a]).astype(">" + code)))
add("bool", np.array([True, False, True]))
add("scalar", np.array(2.5, dtype=">f4"))
add("empty", np.zeros((3, 0, 2), dtype=">i2"))
add("strided", np.arange(24, dtype="<i4").reshape(4, 6)[::2, 1::2])
add("rank32", np.arange(2.0).reshape((1,) * 31 + (2,)))

folder = sys.argv[1]
np.savez(folder + "/plain.npz", **arrays)
np.savez_compressed(folder + "/compressed.npz", **arrays)
for version in [(2, 0), (3, 0)]:
    with open(f"{folder}/version{version[0]}.npy", "wb") as f:
        np.lib.format.write_array(f, np.arange(3, dtype=">u2"), version=version)
