// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.cuda.host.Resources;
import dev.merapi.cuda.print.CudaTypes;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.IndexFaults;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Hand-written kernels of one resource, each compiled for the types that it is asked for. */
public final class Family {
    private static final int THREADS = 256;

    private static final Pattern SIGNATURE =
            Pattern.compile("__global__\\s+void\\s+(?:__launch_bounds__\\([^)]*\\)\\s+)?(\\w+)\\(([^)]*)\\)");

    private final String resource;
    private final List<String> entries;
    private final String text;
    private final Map<String, List<String>> parameters = new HashMap<>();
    private final ConcurrentMap<Key, KernelFunction> functions = new ConcurrentHashMap<>();

    private record Key(Kernels kernels, int device, Object variant, String entry) {}

    public Family(String resource, String... entries) {
        this(resource, "", List.of(entries));
    }

    private Family(String resource, String before, List<String> entries) {
        this.resource = resource;
        this.entries = entries;
        this.text = before + "#line 1 \"" + resource + "\"\n" + Resources.text(resource);
        Matcher m = SIGNATURE.matcher(text);
        while (m.find()) {
            parameters.put(m.group(1), List.of(m.group(2).split(",\\s*")));
        }
    }

    /** Kernels that stand on the functions of another resource. */
    public static Family above(String functions, String resource, String... entries) {
        return above(List.of(functions), resource, entries);
    }

    /** Kernels that stand on the functions of other resources, in this order. */
    public static Family above(List<String> functions, String resource, String... entries) {
        StringBuilder before = new StringBuilder();
        for (String f : functions) {
            before.append("#line 1 \"").append(f).append("\"\n").append(Resources.text(f));
        }
        return new Family(resource, before.toString(), List.of(entries));
    }

    /** The source for these types: {@code typedef}s and {@code #define}s that stand before the text. */
    public KernelSource source(String types) {
        return new KernelSource(resource, types + text, entries);
    }

    /** {@code typedef float T;} */
    public static String type(String name, DType dtype) {
        return "typedef " + CudaTypes.storage(dtype) + " " + name + ";\n";
    }

    /** {@code typedef unsigned int T;} for elements of 4 bytes, which are only moved. */
    public static String bits(String name, int bytes) {
        String type = switch (bytes) {
            case 1 -> "unsigned char";
            case 2 -> "unsigned short";
            case 4 -> "unsigned int";
            default -> "unsigned long long";
        };
        return "typedef " + type + " " + name + ";\n";
    }

    /** Begins a launch on the device of a tensor; the kernel is compiled for one type, {@code T}. */
    public Call call(Kernels kernels, String op, Tensor at, String entry, DType t) {
        return call(kernels, op, at, entry, t, Family::single);
    }

    private static String single(DType t) {
        return type("T", t);
    }

    /**
     * Begins a launch on the device of a tensor.
     *
     * @param variant what the kernel is compiled for; the function is known by it, without making a text
     * @param types its {@code typedef}s and {@code #define}s
     */
    public <V> Call call(Kernels kernels, String op, Tensor at, String entry, V variant, Function<V, String> types) {
        int device = at.device().index();
        Key key = new Key(kernels, device, variant, entry);
        KernelFunction function = functions.get(key);
        if (function == null) {
            function = kernels.function(device, source(types.apply(variant)), entry);
            functions.put(key, function);
        }
        return new Call(kernels, op, device, function, entry);
    }

    /** One launch: its arguments in order, then the grid. */
    public final class Call {
        private final Kernels kernels;
        private final String op;
        private final int device;
        private final KernelFunction function;
        private final String entry;
        private final Arguments arguments = Arguments.begin();
        private final boolean checks;
        private int count;

        private Call(Kernels kernels, String op, int device, KernelFunction function, String entry) {
            this.kernels = kernels;
            this.op = op;
            this.device = device;
            this.function = function;
            this.entry = entry;
            this.checks = kernels.runtime().checks();
        }

        /** The address of a tensor's first element; 0 if it is absent. */
        public Call pointer(@Nullable Tensor t) {
            return t == null ? word(0) : pointer(t, 0);
        }

        /** The address of an element of a contiguous tensor. */
        public Call pointer(Tensor t, long element) {
            if (checks) {
                List<String> parameters = Family.this.parameters.getOrDefault(entry, List.of());
                String parameter = count < parameters.size() ? parameters.get(count) : "argument " + count;
                String name = parameter.substring(parameter.lastIndexOf(' ') + 1);
                arguments.region(name, t, !parameter.startsWith("const "), false);
            }
            return word(t.address() + element * t.dtype().byteSize());
        }

        public Call word(long value) {
            next().word(value);
            return this;
        }

        private Arguments next() {
            count++;
            return arguments.next();
        }

        public Call real(double value) {
            next().real(value);
            return this;
        }

        public Call flag(boolean value) {
            return half(value ? 1 : 0);
        }

        public Call half(int value) {
            next().half(value);
            return this;
        }

        /** A struct of 8-byte words. */
        public Call struct(long... words) {
            next();
            for (long w : words) {
                arguments.word(w);
            }
            return this;
        }

        /**
         * Lists of tensors.
         *
         * @param read the roles that are not written
         */
        public Call lists(TensorLists lists, int... read) {
            if (checks) {
                lists.forEach((t, role) -> {
                    boolean written = java.util.stream.IntStream.of(read).noneMatch(r -> r == role);
                    arguments.region("list " + role, t, written, false);
                });
            }
            return struct(lists.words());
        }

        /** A {@code Fault}: where the kernel reports indices that are out of range, unless they have been checked. */
        public Call fault(String name) {
            IndexFaults faults = kernels.isLate() ? kernels.runtime().faults(device) : null;
            if (checks && faults != null) {
                arguments.region(faults);
            }
            return struct(faults == null ? 0 : faults.address(), IndexFaults.number(name));
        }

        public void run(CudaRuntime.Grid grid) {
            kernels.launch(op, device, function, grid, arguments);
        }

        /** For kernels that go over n elements by themselves. */
        public void each(long n) {
            run(kernels.spread(device, n, THREADS));
        }
    }
}
