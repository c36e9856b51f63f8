// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10: the bits behind random numbers, as dev.merapi.random.Philox specifies them.
namespace philox {
using namespace merapi;

struct Block {
    u32 lane[4];
};
MERAPI_F Block block(u64 seed, u64 at) {
    u32 c0 = (u32)at, c1 = (u32)(at >> 32), c2 = 0, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c1 = (u32)p1;
        c3 = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return Block{{c0, c1, c2, c3}};
}
}  // namespace philox
