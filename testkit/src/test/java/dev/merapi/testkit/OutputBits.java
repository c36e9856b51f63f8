// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;

/**
 * Prints a line for each sample of each row and dtype: what it is, and a number made of the bits of all that the op wrote, on
 * the CPU. Two builds of the natives that compute the same print the same: {@code scripts/test --platform linux-x86_64}
 * compares those of two compilers.
 */
final class OutputBits {
    private OutputBits() {}

    public static void main(String[] arguments) {
        System.err.println(Merapi.describe());
        OpRows.all().forEach(OutputBits::print);
    }

    private static <A extends Record, R> void print(OpSamples<A, R> row) {
        for (DType dtype : row.dtypes()) {
            for (OpSamples.Sample<A> sample : row.samples()) {
                String name = row + " " + dtype + " " + sample.name();
                try (Scope scope = Scope.open()) {
                    Merapi.seed(name.hashCode());
                    A args = sample.make().apply(new Maker(dtype, Device.CPU, name.hashCode(), false));
                    if (row.expected(args) == null) {
                        continue; // what it gives is not said: memory that nobody wrote, for one
                    }
                    R result = Autograd.noGrad(() -> row.op().call(args));
                    Tensor[] outputs = row.op().result().tensors(row.op().name(), result);
                    Tensor[] inputs = row.op().schema().tensors(row.op().name(), args);
                    long bits = 1;
                    for (int i = 0; i < outputs.length; i++) {
                        boolean shown = !row.op().definition().isInternal(result, i);
                        bits = shown ? bits(bits, outputs[i]) : bits;
                    }
                    for (Tensor input : inputs) { // some ops write these
                        bits = input == null ? bits : bits(bits, input);
                    }
                    System.out.println(name + ": " + Long.toHexString(bits));
                }
            }
        }
    }

    private static long bits(long before, Tensor t) {
        long hash = before * 31 + t.shape().hashCode();
        if (t.dtype().isFloating()) {
            for (double v : t.toDoubleArray()) {
                hash = (hash ^ Double.doubleToLongBits(v)) * 0xbf58476d1ce4e5b9L;
                hash ^= hash >>> 29;
            }
        } else {
            for (long v : t.to(DType.INT64).toLongArray()) {
                hash = (hash ^ v) * 0xbf58476d1ce4e5b9L;
                hash ^= hash >>> 29;
            }
        }
        return hash;
    }
}
