// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.device.Memory;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import org.junit.jupiter.api.Test;

/** Elements to and from Java. */
class TensorDataTest {
    @Test
    void oneElement() {
        assertThat(Tensor.scalar(2.5f).item()).isEqualTo(2.5);
        assertThat(Tensor.of(new long[] {Long.MAX_VALUE - 1}, 1, 1).itemLong()).isEqualTo(Long.MAX_VALUE - 1);
        assertThat(Tensor.scalar(true).itemBoolean()).isTrue();
        assertThat(Tensor.of(1f, 2f).at(1).item()).isEqualTo(2);
        assertThatThrownBy(() -> Tensor.of(1, 2).item())
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("2 elem");
        Tensor closed = Tensor.scalar(1);
        closed.close();
        assertThatThrownBy(closed::item).isInstanceOf(ClosedTensorException.class);
    }

    @Test
    void arraysOfEveryTypeAndLayout() {
        Tensor x = Tensor.of(new double[] {1.5, -2.5, 0, 300}, 2, 2);
        assertThat(x.t().toDoubleArray()).containsExactly(1.5, 0, -2.5, 300);
        assertThat(x.toFloatArray()).containsExactly(1.5f, -2.5f, 0, 300);
        assertThat(x.toLongArray()).containsExactly(1, -2, 0, 300);
        assertThat(x.toBooleanArray()).containsExactly(true, true, false, true);
        assertThat(x.to(DType.BFLOAT16).toFloatArray()).containsExactly(1.5f, -2.5f, 0, 300);
        assertThat(Tensor.of((byte) 200).toIntArray()).containsExactly(200);
        assertThat(Tensor.of((byte) 200).toByteArray()).containsExactly((byte) 200);
        assertThat(x.slice(1, 1, 2).expand(2, 3).toIntArray()).containsExactly(-2, -2, -2, 300, 300, 300);
        assertThat(Tensor.zeros(0).toFloatArray()).isEmpty();
    }

    @Test
    void buffersMoveOn() {
        FloatBuffer floats = FloatBuffer.allocate(6);
        Tensor.of(1f, 2f).copyTo(floats);
        Tensor.of(3.5, 4.5).copyTo(floats);
        assertThat(floats.position()).isEqualTo(4);
        assertThat(floats.array()).containsExactly(1, 2, 3.5f, 4.5f, 0, 0);
        assertThatThrownBy(() -> Tensor.zeros(3).copyTo(floats)).isInstanceOf(ShapeException.class);
        LongBuffer longs = LongBuffer.allocate(2);
        Tensor.of(5, 6).copyTo(longs);
        assertThat(longs.array()).containsExactly(5, 6);
        ByteBuffer bytes = ByteBuffer.allocateDirect(16).order(ByteOrder.nativeOrder());
        Tensor.of(new int[] {1, 2, 3, 4}, 2, 2).t().copyTo(bytes);
        assertThat(bytes.flip().order(ByteOrder.nativeOrder()).asIntBuffer().get(1))
                .isEqualTo(3);
    }

    @Test
    void valuesComeIn() {
        Tensor x = Tensor.zeros(2, 2);
        Tensor view = x.t();
        view.copyFrom(1, 2, 3, 4);
        assertThat(x.toIntArray()).containsExactly(1, 3, 2, 4);
        assertThatThrownBy(() -> x.copyFrom(1f)).isInstanceOf(ShapeException.class);
    }

    @Test
    void readingLeavesNothingBehind() {
        Tensor x = Tensor.rand(100, 100);
        try (Scope scope = Scope.open()) {
            long before = Memory.stats(Device.CPU).allocated();
            for (int i = 0; i < 100; i++) {
                assertThat(x.t().toFloatArray()).hasSize(10_000);
                assertThat(x.at(1, 2).item()).isLessThan(1);
                assertThat(x.toString()).isNotEmpty();
            }
            // Less, if the garbage of other tests was collected meanwhile.
            assertThat(Memory.stats(Device.CPU).allocated()).isLessThanOrEqualTo(before);
        }
    }
}
