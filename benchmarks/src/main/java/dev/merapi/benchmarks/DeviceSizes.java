// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.device.Memory;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.List;

/**
 * How large the questions of {@link DeviceReport} are.
 *
 * @param elements of each operand of pointwise ops and of what is reduced
 * @param rowLength of softmax and layer norm
 * @param attentionBatch sequences, of 12 heads of 64 numbers each
 * @param adamParameters their number, in tensors of 2²⁰ elements at most
 * @param small whether to measure once, for the sake of having run
 */
record DeviceSizes(
        long elements,
        long rowLength,
        long vocabulary,
        List<Long> matrices,
        long attentionBatch,
        long attentionLength,
        long adamParameters,
        GptSizes gpt,
        long images,
        boolean small) {

    /** A GPT and its batch. */
    record GptSizes(long layers, long width, long heads, long vocabulary, long batch, long context) {}

    private static final long ATTENTION_HEADS = 12;
    private static final long HEAD_WIDTH = 64;

    /** What a GPU deserves; the number of elements fits its memory five times. */
    static DeviceSizes full(Device device) {
        long elements = 1L << 28;
        while (elements * Float.BYTES * 5 > Memory.stats(device).cap()) {
            elements /= 2;
        }
        return new DeviceSizes(
                elements,
                1024,
                50304,
                List.of(1024L, 2048L, 4096L, 8192L),
                16,
                1024,
                124_000_000,
                new GptSizes(12, 768, 12, 50304, 16, 1024),
                512,
                false);
    }

    /** For a processor: the same questions in a minute or two. */
    static DeviceSizes medium() {
        return new DeviceSizes(
                1 << 24,
                1024,
                50304,
                List.of(256L, 512L, 1024L),
                1,
                256,
                4_000_000,
                new GptSizes(2, 128, 4, 1024, 4, 64),
                64,
                false);
    }

    /** For the simulator, and to see that all of it runs. */
    static DeviceSizes tiny() {
        return new DeviceSizes(
                1 << 12, 64, 128, List.of(32L), 1, 32, 3_000, new GptSizes(1, 32, 2, 64, 2, 16), 4, true);
    }

    static DeviceSizes of(Device device) {
        if (device.type() == DeviceType.CUDA_SIM) {
            return tiny();
        }
        return device.type() == DeviceType.CUDA ? full(device) : medium();
    }

    long heads() {
        return ATTENTION_HEADS;
    }

    long headWidth() {
        return HEAD_WIDTH;
    }
}
