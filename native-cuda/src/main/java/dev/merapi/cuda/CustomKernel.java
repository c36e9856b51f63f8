// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.RecordType;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** A kernel that somebody wrote for an op, called with the components of the op's record by name. */
final class CustomKernel implements Kernel<Record, Object> {
    private static final int THREADS = 256;

    private final Definition<?, ?> op;
    private final CudaKernel code;
    private final Kernels kernels;
    private final ConcurrentMap<String, Long> functions = new ConcurrentHashMap<>();

    CustomKernel(Definition<?, ?> op, CudaKernel code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.kernels = kernels;
    }

    @Override
    public void run(Record args, Object out) {
        Map<String, Tensor> outputs = outputs(out);
        if (outputs.isEmpty()) {
            throw new SchemaException(op.name() + ": a CudaKernel needs an op with tensors in its result");
        }
        Tensor first = outputs.values().iterator().next();
        if (outputs.values().stream().allMatch(t -> t.numel() == 0)) {
            return;
        }
        Map<String, Object> values = new LinkedHashMap<>(outputs);
        RecordType record = op.schema().record();
        for (int i = 0; i < record.size(); i++) {
            Object value = record.get(args, i);
            Object plain = value instanceof Optional<?> o ? o.orElse(null) : value;
            // An op that returns what it writes has one tensor under two names.
            values.put(record.name(i), plain == null ? Absent.VALUE : plain);
        }
        int device = first.device().index();
        if (code.isWhole()) {
            whole(args, values, outputs, first, device);
        } else {
            body(values, outputs, first, device);
        }
    }

    private enum Absent {
        VALUE
    }

    /** By name: {@code out} for a single one, {@code out0, out1, …} for a list, else the names of the record. */
    private static Map<String, Tensor> outputs(Object out) {
        Map<String, Tensor> outputs = new LinkedHashMap<>();
        if (out instanceof Tensor t) {
            outputs.put("out", t);
        } else if (out instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                outputs.put("out" + i, (Tensor) list.get(i));
            }
        } else if (out instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), null);
            for (int i = 0; i < type.size(); i++) {
                if (type.get(r, i) instanceof Tensor t) {
                    outputs.put(type.name(i), t);
                }
            }
        }
        return outputs;
    }

    // ---------------------------------------------------------------- bodies

    private void body(Map<String, Object> values, Map<String, Tensor> outputs, Tensor first, int device) {
        BodyPrinter printer =
                new BodyPrinter(op.name(), code.text(), first.dtype().computeType());
        Arguments a = Arguments.begin().next();
        values.forEach((name, value) -> {
            if (value instanceof Tensor t) {
                boolean written = outputs.containsKey(name) || op.mutates().contains(name);
                printer.tensor(name, t, written);
                a.word(t.address()).word(t.numel()).word(t.rank());
                for (int d = 0; d < BodyPrinter.MAX_RANK; d++) {
                    a.word(d < t.rank() ? t.size(d) : 1)
                            .word(d < t.rank() ? t.layout().stride(d) : 0);
                }
            } else if (value == Absent.VALUE) {
                printer.absent(name);
                a.word(0).word(0).word(0);
                for (int d = 0; d < 2 * BodyPrinter.MAX_RANK; d++) {
                    a.word(0);
                }
            } else if (value instanceof Number || value instanceof Boolean || value instanceof Enum<?>) {
                printer.scalar(name, value);
                word(a, value);
            }
            // Lists, strings and the like have no place in a body; the compiler says so where one is used.
        });
        a.word(first.numel());
        regions(a, values, outputs);
        String text = printer.text();
        long function = functions.computeIfAbsent(
                device + text, k -> kernels.function(device, new KernelSource(op.name(), text, List.of("body"))));
        kernels.launch(op.name(), device, function, kernels.spread(device, first.numel(), THREADS), a);
    }

    private static void word(Arguments a, Object value) {
        if (value instanceof Double || value instanceof Float) {
            a.real(((Number) value).doubleValue());
        } else if (value instanceof Boolean b) {
            a.word(b ? 1 : 0);
        } else if (value instanceof Enum<?> e) {
            a.word(e.ordinal());
        } else {
            a.word(((Number) value).longValue());
        }
    }

    // ---------------------------------------------------------------- whole kernels

    private void whole(Record args, Map<String, Object> values, Map<String, Tensor> outputs, Tensor first, int device) {
        String text = "typedef " + CudaTypes.storage(first.dtype()) + " scalar_t;\n#line 1 \"" + op.name() + "\"\n"
                + code.text();
        long function = functions.computeIfAbsent(
                device + text, k -> kernels.function(device, new KernelSource(op.name(), text, List.of(code.entry()))));
        List<String> names = code.arguments();
        if (names == null) {
            names = new ArrayList<>(values.keySet());
            names.add(outputs.keySet().iterator().next() + ".numel");
        }
        Arguments a = Arguments.begin();
        for (String name : names) {
            argument(a.next(), name, values);
        }
        regions(a, values, outputs);
        kernels.launch(op.name(), device, function, grid(args, List.copyOf(outputs.values())), a);
    }

    /** What the kernel may read and write, for the simulator's checks. */
    private void regions(Arguments a, Map<String, Object> values, Map<String, Tensor> outputs) {
        if (!kernels.runtime().checks()) {
            return;
        }
        Set<Long> kept = new HashSet<>();
        values.forEach((name, value) -> {
            if (op.mutates().contains(name)) {
                tensors(name, value).forEach((n, t) -> kept.add(t.address()));
            }
        });
        values.forEach((name, value) -> tensors(name, value).forEach((n, t) -> {
            boolean output = outputs.containsKey(name);
            boolean fresh = output && !kept.contains(t.address()) && t.isContiguous();
            a.region(n, t, output || op.mutates().contains(name), fresh);
        }));
    }

    private static Map<String, Tensor> tensors(String name, Object value) {
        Map<String, Tensor> found = new LinkedHashMap<>();
        if (value instanceof Tensor t) {
            found.put(name, t);
        } else if (value instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                if (list.get(i) instanceof Tensor t) {
                    found.put(name + "[" + i + "]", t);
                }
            }
        }
        return found;
    }

    private void argument(Arguments a, String name, Map<String, Object> values) {
        int dot = name.indexOf('.');
        Object value = values.get(dot < 0 ? name : name.substring(0, dot));
        if (value == null) {
            throw unknown(name, values);
        }
        if (dot >= 0) {
            a.word(property(value, name, name.substring(dot + 1), values));
        } else if (value instanceof Tensor t) {
            a.word(t.address());
        } else if (value == Absent.VALUE) {
            a.word(0);
        } else if (value instanceof Integer i) {
            a.half(i);
        } else if (value instanceof Enum<?> e) {
            a.half(e.ordinal());
        } else if (value instanceof Boolean b) {
            a.flag(b);
        } else if (value instanceof Number) {
            word(a, value);
        } else {
            throw new SchemaException(Message.of(op.name() + ": argument '" + name + "' of the kernel is a "
                            + value.getClass().getSimpleName() + ", which no kernel can take")
                    .fix("name the arguments that it takes with CudaKernel.arguments(…).")
                    .toString());
        }
    }

    private long property(Object value, String name, String property, Map<String, Object> values) {
        if (value instanceof Tensor t) {
            if (property.equals("numel")) {
                return t.numel();
            }
            if (property.matches("(size|stride)\\(-?\\d+\\)")) {
                int dim = Integer.parseInt(property.substring(property.indexOf('(') + 1, property.length() - 1));
                return property.startsWith("size") ? t.size(dim) : t.layout().stride(dim);
            }
        }
        throw unknown(name, values);
    }

    private SchemaException unknown(String name, Map<String, Object> values) {
        return new SchemaException(Message.of(op.name() + ": the kernel asks for an argument '" + name + "'")
                .fact("there are", values.keySet())
                .fix("name one of those, or x.numel, x.size(d), x.stride(d) of a tensor x.")
                .toString());
    }

    private CudaRuntime.Grid grid(Record args, List<Tensor> outputs) {
        Tensor first = outputs.get(0);
        CudaKernel.Launch launch = code.launch();
        long n = first.numel();
        int shared = code.sharedBytes();
        if (launch instanceof CudaKernel.Elements e) {
            return new CudaRuntime.Grid((n + e.threads() - 1) / e.threads(), 1, 1, e.threads(), 1, 1, shared);
        }
        if (launch instanceof CudaKernel.Rows r) {
            long columns = first.rank() == 0 ? 1 : Math.max(1, first.size(-1));
            return new CudaRuntime.Grid(n / columns, 1, 1, r.threads(), 1, 1, shared);
        }
        if (launch instanceof CudaKernel.Tiles t) {
            long width = first.rank() > 0 ? first.size(-1) : 1;
            long height = first.rank() > 1 ? first.size(-2) : 1;
            return new CudaRuntime.Grid(
                    (width + t.width() - 1) / t.width(),
                    (height + t.height() - 1) / t.height(),
                    n / (width * height),
                    t.blockX(),
                    t.blockY(),
                    1,
                    shared);
        }
        CudaKernel.Grid g = ((CudaKernel.Explicit) launch).grid().apply(args, outputs);
        return new CudaRuntime.Grid(g.x(), g.y(), g.z(), g.blockX(), g.blockY(), g.blockZ(), shared);
    }

    @Override
    public String toString() {
        return code.toString();
    }
}
