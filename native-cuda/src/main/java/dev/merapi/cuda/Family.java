// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Hand-written kernels of one resource, compiled together for the types that they are asked for. */
final class Family {
    private static final int THREADS = 256;

    private final String resource;
    private final List<String> entries;
    private final String text;

    Family(String resource, String... entries) {
        this.resource = resource;
        this.entries = List.of(entries);
        this.text = Resources.text(resource);
    }

    /** The source for these types: {@code typedef}s and {@code #define}s that stand before the text. */
    KernelSource source(String types) {
        return new KernelSource(resource, types + "#line 1 \"" + resource + "\"\n" + text, entries);
    }

    /** {@code typedef float T;} */
    static String type(String name, DType dtype) {
        return "typedef " + CudaTypes.storage(dtype) + " " + name + ";\n";
    }

    /** Begins a launch on the device of a tensor. */
    Call call(Kernels kernels, String op, Tensor at, String entry, String types) {
        int device = at.device().index();
        return new Call(kernels, op, device, kernels.function(device, source(types), entry));
    }

    /** One launch: its arguments in order, then the grid. */
    static final class Call {
        private final Kernels kernels;
        private final String op;
        private final int device;
        private final long function;
        private final Arguments arguments = Arguments.begin();

        private Call(Kernels kernels, String op, int device, long function) {
            this.kernels = kernels;
            this.op = op;
            this.device = device;
            this.function = function;
        }

        /** The address of a tensor's first element; 0 if it is absent. */
        Call pointer(@Nullable Tensor t) {
            return word(t == null ? 0 : t.address());
        }

        Call word(long value) {
            arguments.next().word(value);
            return this;
        }

        Call real(double value) {
            arguments.next().real(value);
            return this;
        }

        Call flag(boolean value) {
            return half(value ? 1 : 0);
        }

        Call half(int value) {
            arguments.next().half(value);
            return this;
        }

        /** A struct of 8-byte words. */
        Call struct(long... words) {
            arguments.next();
            for (long w : words) {
                arguments.word(w);
            }
            return this;
        }

        void run(CudaRuntime.Grid grid) {
            kernels.launch(op, device, function, grid, arguments);
        }

        /** For kernels that go over n elements by themselves. */
        void each(long n) {
            run(kernels.spread(device, n, THREADS));
        }

        /** For kernels of one block a row. */
        void rows(long count, long length) {
            int threads = length <= 32 ? 32 : length <= 1024 ? 128 : 256;
            run(CudaRuntime.Grid.of(Math.max(1, Math.min(count, Integer.MAX_VALUE)), threads));
        }
    }
}
