// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.launch.Operands;
import dev.merapi.cuda.print.BodyPrinter;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Supplier;

/** Compiles a {@link CudaKernel} for operands as they come, and launches it. */
public final class CustomLaunch {
    private static final long GRID_ROWS = Integer.MAX_VALUE;
    private static final long GRID_SIDE = 65535;

    private final String op;
    private final CudaKernel code;
    private final Kernels kernels;
    private final ConcurrentMap<String, KernelFunction> functions = new ConcurrentHashMap<>();

    CustomLaunch(String op, CudaKernel code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.kernels = kernels;
    }

    /**
     * Launches.
     *
     * @param first whose size and dtype the launch goes by
     * @param explicit the grid if the launch shape is {@link CudaKernel.Explicit}
     */
    void run(Operands operands, Tensor first, Supplier<CudaKernel.Grid> explicit) {
        for (String name : code.zeroed()) {
            Object value = operands.values().get(name);
            if (value == null || !operands.isWritten(name)) {
                throw unknown("fills '" + name + "' with zeros, which is no output", operands);
            }
            Operands.tensors(value).forEach(Tensor::zero_);
            operands.filled(name);
        }
        if (first.numel() == 0 && !(code.launch() instanceof CudaKernel.Explicit)) {
            return;
        }
        int device = first.device().index();
        Arguments a = Arguments.begin();
        KernelFunction function = code.isWhole() ? whole(a, operands, first, device) : body(a, operands, first, device);
        if (kernels.runtime().checks()) {
            operands.regions(a);
        }
        CudaRuntime.Grid grid = grid(first, explicit);
        if (grid.x() > 0 && grid.y() > 0 && grid.z() > 0) {
            kernels.launch(op, device, function, grid, a);
        }
    }

    private KernelFunction compiled(int device, String key, Supplier<KernelSource> source) {
        KernelFunction known = functions.get(key);
        if (known == null) {
            KernelSource made = source.get();
            if (code.isVerbose()) {
                System.out.println("// " + op + ", " + code.origin() + "\n" + made.text());
            }
            try {
                known = kernels.function(device, made);
            } catch (KernelCompileException e) {
                throw new KernelCompileException(op + ": " + e.getMessage() + "\n  written at: " + code.origin());
            }
            functions.put(key, known);
        }
        return known;
    }

    // ---------------------------------------------------------------- bodies

    private KernelFunction body(Arguments a, Operands operands, Tensor first, int device) {
        a.next();
        StringBuilder key = new StringBuilder()
                .append(device)
                .append(' ')
                .append(first.dtype().shortName());
        operands.values().forEach((name, value) -> {
            key.append(' ');
            words(a, key, value);
        });
        long columns = first.rank() == 0 ? 1 : first.size(-1);
        boolean tiles = code.launch() instanceof CudaKernel.Tiles;
        long rows = tiles ? first.rank() > 1 ? first.size(-2) : 1 : first.numel() / Math.max(1, columns);
        a.word(first.numel()).word(rows).word(columns);
        return compiled(
                device,
                key.toString(),
                () -> new KernelSource(op, print(operands, first.dtype()), List.of(code.entry())));
    }

    /** The words of a value; and to the key, all that the printed text depends on. */
    private static void words(Arguments a, StringBuilder key, Object value) {
        if (value instanceof Tensor t) {
            key.append(t.dtype().shortName()).append(t.isContiguous() ? 'd' : 's');
            view(a, t);
        } else if (value == Operands.Missing.TENSOR) {
            key.append('-');
            zeros(a, BodyPrinter.VIEW_WORDS);
        } else if (value == Operands.Missing.OUTPUT) {
            key.append('u');
        } else if (value == Operands.Missing.PLAIN) {
            key.append('0');
            a.word(0);
        } else if (value instanceof List<?> list && list.stream().allMatch(e -> e instanceof Tensor)) {
            key.append('l').append(list.size());
            for (Object e : list) {
                key.append(',').append(((Tensor) e).dtype().shortName());
                key.append(((Tensor) e).isContiguous() ? 'd' : 's');
                view(a, (Tensor) e);
            }
            if (list.isEmpty()) {
                zeros(a, BodyPrinter.VIEW_WORDS);
            }
        } else if (isScalar(value)) {
            key.append(
                    value instanceof Enum<?> e
                            ? e.getDeclaringClass().getName()
                            : value.getClass() == Long.class
                                    ? "L"
                                    : value.getClass().getSimpleName().substring(0, 1));
            scalar(a, value);
        } else if (isNumbers(value)) {
            List<?> all = numbers(value);
            key.append('a').append(all.size()).append(isFloating(value) ? 'D' : 'L');
            all.forEach(e -> scalar(a, e));
            if (all.isEmpty()) {
                a.word(0);
            }
        }
        // Strings, devices and the like have no place in a body; the compiler says so where one is used.
    }

    private static void view(Arguments a, Tensor t) {
        a.word(t.address()).word(t.numel()).word(t.rank());
        for (int d = 0; d < BodyPrinter.MAX_RANK; d++) {
            a.word(d < t.rank() ? t.size(d) : 1).word(d < t.rank() ? t.layout().stride(d) : 0);
        }
    }

    private static void zeros(Arguments a, int count) {
        for (int i = 0; i < count; i++) {
            a.word(0);
        }
    }

    private static boolean isScalar(Object value) {
        return value instanceof Number || value instanceof Boolean || value instanceof Enum<?>;
    }

    private static void scalar(Arguments a, Object value) {
        if (value instanceof Double || value instanceof Float) {
            a.real(((Number) value).doubleValue());
        } else if (value instanceof Boolean b) {
            a.word(b ? 1 : 0);
        } else if (value instanceof Enum<?> e) {
            a.word(number(e));
        } else {
            a.word(((Number) value).longValue());
        }
    }

    /** The number of a constant, for which the printed text has its name. */
    @SuppressWarnings("EnumOrdinal")
    private static int number(Enum<?> constant) {
        return constant.ordinal();
    }

    private static boolean isNumbers(Object value) {
        return value.getClass().isArray()
                || value instanceof List<?> list && list.stream().allMatch(CustomLaunch::isScalar);
    }

    private static boolean isFloating(Object value) {
        return value instanceof double[]
                || value instanceof List<?> list && !list.isEmpty() && list.get(0) instanceof Double;
    }

    private static List<?> numbers(Object value) {
        if (value instanceof long[] v) {
            return Arrays.stream(v).boxed().toList();
        }
        if (value instanceof int[] v) {
            return Arrays.stream(v).boxed().toList();
        }
        return value instanceof double[] v ? Arrays.stream(v).boxed().toList() : (List<?>) value;
    }

    private String print(Operands operands, DType dtype) {
        BodyPrinter printer = new BodyPrinter(op, code.text(), code.launch(), dtype.computeType());
        operands.values().forEach((name, value) -> {
            boolean written = operands.isWritten(name);
            if (value instanceof Tensor t) {
                printer.tensor(name, t, written);
            } else if (value == Operands.Missing.TENSOR) {
                printer.absent(name);
            } else if (value == Operands.Missing.OUTPUT) {
                printer.unwanted(name);
            } else if (value == Operands.Missing.PLAIN) {
                printer.scalar(name, 0L);
            } else if (value instanceof List<?> list && list.stream().allMatch(e -> e instanceof Tensor)) {
                printer.tensors(name, Operands.tensors(list), written);
            } else if (isScalar(value)) {
                printer.scalar(name, value);
            } else if (isNumbers(value)) {
                printer.array(name, isFloating(value), numbers(value).size());
            }
            if (operands.isOptional(name)) {
                printer.presence(name, value != Operands.Missing.PLAIN);
            }
        });
        return printer.text();
    }

    // ---------------------------------------------------------------- whole kernels

    private KernelFunction whole(Arguments a, Operands operands, Tensor first, int device) {
        List<String> names = code.arguments();
        if (names == null) {
            names = new ArrayList<>(operands.values().keySet());
            names.add("");
        }
        for (String name : names) {
            if (name.isEmpty()) {
                a.next().word(first.numel());
            } else {
                argument(a.next(), name, operands);
            }
        }
        byte[] image = code.image();
        if (image != null) {
            return functions.computeIfAbsent(device + "", k -> kernels.image(op, device, image, code.entry()));
        }
        String types = types(operands.values(), first.dtype());
        return compiled(
                device,
                device + types,
                () -> new KernelSource(op, types + "#line 1 \"" + op + "\"\n" + code.text(), List.of(code.entry())));
    }

    private static String types(Map<String, Object> values, DType first) {
        StringBuilder types = new StringBuilder("#line 1 \"" + KernelSource.GENERATED + "\"\n");
        types.append(Family.type("scalar_t", first)).append(Family.type("acc_t", first.computeType()));
        Set<Class<?>> enums = new HashSet<>();
        values.forEach((name, value) -> {
            if (value instanceof Enum<?> e && enums.add(e.getDeclaringClass())) {
                types.append(BodyPrinter.constants(e)).append('\n');
            }
            List<Tensor> all = Operands.tensors(value);
            boolean missing = value == Operands.Missing.TENSOR || value == Operands.Missing.OUTPUT;
            if (!all.isEmpty() || missing) {
                types.append(
                        Family.type(name + "_t", missing ? first : all.get(0).dtype()));
            }
        });
        return types.toString();
    }

    private void argument(Arguments a, String name, Operands operands) {
        int dot = name.indexOf('.');
        Object value = operands.find(dot < 0 ? name : name.substring(0, dot));
        if (value == null) {
            throw unknown("asks for an argument '" + name + "'", operands);
        }
        if (dot >= 0) {
            a.word(property(value, name, name.substring(dot + 1), operands));
        } else if (value instanceof Tensor t) {
            a.word(t.address());
        } else if (value instanceof Operands.Missing) {
            a.word(0);
        } else if (value instanceof Integer i) {
            a.half(i);
        } else if (value instanceof Enum<?> e) {
            a.half(number(e));
        } else if (value instanceof Boolean b) {
            a.flag(b);
        } else if (value instanceof Number) {
            scalar(a, value);
        } else {
            String kind = value instanceof List<?> ? "list" : value.getClass().getSimpleName();
            throw new SchemaException(Message.of(
                            op + ": argument '" + name + "' of the kernel is a " + kind + ", which no kernel can take")
                    .fix("name the arguments that it takes with CudaKernel.arguments(…); of a list, " + name + "[0].")
                    .toString());
        }
    }

    private long property(Object value, String name, String property, Operands operands) {
        if (value instanceof List<?> list && property.equals("count")) {
            return list.size();
        }
        if (value instanceof Tensor t) {
            if (property.equals("numel")) {
                return t.numel();
            }
            if (property.matches("(size|stride)\\(-?\\d{1,3}\\)")) {
                int dim = Integer.parseInt(property.substring(property.indexOf('(') + 1, property.length() - 1));
                return property.startsWith("size") ? t.size(dim) : t.layout().stride(dim);
            }
        }
        throw unknown("asks for an argument '" + name + "'", operands);
    }

    private SchemaException unknown(String what, Operands operands) {
        return new SchemaException(Message.of(op + ": the kernel " + what)
                .fact("there are", operands.values().keySet())
                .fact("written at", code.origin())
                .fix("name one of those, or x.numel, x.size(d), x.stride(d) of a tensor x.")
                .toString());
    }

    // ---------------------------------------------------------------- grids

    private CudaRuntime.Grid grid(Tensor first, Supplier<CudaKernel.Grid> explicit) {
        CudaKernel.Launch launch = code.launch();
        long n = first.numel();
        int shared = code.sharedBytes();
        if (launch instanceof CudaKernel.Explicit) {
            CudaKernel.Grid g = explicit.get();
            return new CudaRuntime.Grid(g.x(), g.y(), g.z(), g.blockX(), g.blockY(), g.blockZ(), shared);
        }
        long columns = first.rank() == 0 ? 1 : first.size(-1);
        if (launch instanceof CudaKernel.Rows r) {
            return line("rows", n / columns, r.threads(), shared);
        }
        if (launch instanceof CudaKernel.Warps w) {
            return line("rows", ceil(n / columns, w.perBlock()), 32 * w.perBlock(), shared);
        }
        if (launch instanceof CudaKernel.Tiles t) {
            long rows = first.rank() > 1 ? first.size(-2) : 1;
            long down = ceil(rows, t.height());
            long planes = n / (columns * rows);
            if (down > GRID_SIDE || planes > GRID_SIDE) {
                throw tooMany(
                        (down > GRID_SIDE ? down + " tiles, one below the other," : planes + " planes"), GRID_SIDE);
            }
            return new CudaRuntime.Grid(ceil(columns, t.width()), down, planes, t.blockX(), t.blockY(), 1, shared);
        }
        int threads = ((CudaKernel.Elements) launch).threads();
        if (code.isWhole()) {
            return line("elements", ceil(n, threads), threads, shared);
        }
        CudaRuntime.Grid spread = kernels.spread(first.device().index(), n, threads);
        return new CudaRuntime.Grid(spread.x(), 1, 1, threads, 1, 1, shared);
    }

    private CudaRuntime.Grid line(String what, long blocks, int threads, int shared) {
        if (blocks > GRID_ROWS) {
            throw tooMany(blocks + " blocks of " + what, GRID_ROWS);
        }
        return new CudaRuntime.Grid(blocks, 1, 1, threads, 1, 1, shared);
    }

    private SchemaException tooMany(String what, long limit) {
        return new SchemaException(op + ": " + what + " are more than a grid can hold, " + limit
                + "\n  fix: launch with CudaKernel.Explicit, and let each block do several.");
    }

    private static long ceil(long n, long by) {
        return (n + by - 1) / by;
    }
}
