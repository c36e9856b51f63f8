// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.OutOfMemoryException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A system without memory for a kernel to work in: the op says so, on whichever thread it was, and the process goes on. */
class NoWorkingMemoryTest {
    @AfterEach
    void giveAll() {
        Native.working_memory_limit(-1);
    }

    @Test
    void theOpSaysSoAndWorksAgainWhenThereIsSome() {
        int threads = Cpu.threads();
        try (Scope scope = Scope.open()) {
            Tensor a = Tensor.randn(300, 200);
            Tensor b = Tensor.randn(200, 260);
            Tensor x = Tensor.randn(4, 3, 20, 20);
            Tensor w = Tensor.randn(8, 3, 3, 3);
            Tensor q = Tensor.randn(2, 2, 64, 16);
            Map<String, Supplier<Tensor>> ops = new LinkedHashMap<>();
            ops.put("merapi::matmul", () -> a.matmul(b));
            ops.put("merapi::conv2d", () -> Convolution.conv2d(x, w, null, 1, 0, 1, 1));
            ops.put("merapi::attention", () -> Attention.attention(q, q, q, false));
            ops.put("merapi::topk", () -> a.topk(5).values());
            for (int count : new int[] {1, 4}) {
                Cpu.setThreads(count);
                ops.forEach((name, op) -> {
                    byte[] right = Elements.bytes(op.get());
                    Native.working_memory_limit(0);
                    for (int i = 0; i < 3; i++) {
                        assertThatThrownBy(op::get)
                                .as(name)
                                .isInstanceOf(OutOfMemoryException.class)
                                .hasMessageContaining(name)
                                .hasMessageContaining("working memory");
                    }
                    Native.working_memory_limit(-1);
                    assertThat(Elements.bytes(op.get())).as(name).isEqualTo(right);
                });
            }
        } finally {
            Cpu.setThreads(threads);
        }
    }
}
