// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.device.Memory;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Positions beyond 2³¹: one tensor of a little more than two gigabytes, which Java cannot see as one buffer. */
class LargeTensorTest {
    private static final long N = (1L << 31) + 5;

    @Test
    void opsReachTheElementsBeyondTwoGigabytes() {
        long cap = Memory.stats(Device.CPU).cap();
        assumeTrue(cap > 3 * N, () -> "skipped: needs " + 3 * N + " bytes, the cap of this machine is " + cap);
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.zeros(DType.UINT8, N);
            x.slice(0, N - 3, N).fill_(7);
            assertEquals(7, x.select(0, N - 1).itemLong());
            assertEquals(21, x.sum().itemLong());
            assertEquals(N - 3, x.argmax().itemLong());
            assertArrayEquals(
                    new long[] {0, 7, 0, 7},
                    x.indexSelect(0, Tensor.of(new long[] {0, N - 1, N - 4, N - 2}))
                            .toLongArray());
            x.add_(1);
            assertEquals(8, x.slice(0, N - 1, N).itemLong());
            assertEquals(
                    1,
                    x.slice(0, 0, 1L << 31)
                            .view(1 << 15, 1 << 16)
                            .transpose(0, 1)
                            .select(0, 65535)
                            .select(0, 32767)
                            .itemLong());
            Tensor joined = Tensor.cat(List.of(x.slice(0, 0, 5), x), 0);
            assertEquals(N + 5, joined.numel());
            assertEquals(8, joined.select(0, N + 4).itemLong());
            assertTrue(x.toString().startsWith("[1, 1, 1, ..., 8, 8, 8]"), x::toString);
            assertTrue(assertThrows(ShapeException.class, x::toByteArray)
                    .getMessage()
                    .contains("2147483653 elements"));
        } finally {
            Memory.trim(Device.CPU);
        }
    }
}
