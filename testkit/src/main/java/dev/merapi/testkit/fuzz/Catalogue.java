// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Variable;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.op.tree.RecordType;
import dev.merapi.ops.LinearCrossEntropy;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What programs can call: all registered ops, and the public methods of {@link Tensor}. New ones join by themselves. */
final class Catalogue {
    /** What the engine uses itself, what needs other arguments than tensors and numbers, and what is not deterministic. */
    private static final Set<String> NOT_CALLED = Set.of(
            "meta",
            "zeros",
            "allocate",
            "over",
            "viewAs",
            "engineHandle",
            "uncountedHandle",
            "joinScope",
            "leaveScope",
            "requiresGrad",
            "grad",
            "detach",
            "emptyLike",
            "copyFrom",
            "empty",
            "of",
            "nested",
            "self");

    private static final Set<Class<?>> PARAMETERS = Set.of(
            Tensor.class,
            Number.class,
            int.class,
            long.class,
            double.class,
            boolean.class,
            int[].class,
            long[].class,
            DType.class,
            Shape.class,
            List.class);

    private static final Map<String, String> FIELDS = new HashMap<>();

    /** An op that is an expression, how many scalars it takes, and the dtypes that it has. */
    record Pointwise(Op<?, ?> op, @Nullable PointwiseOp inPlace, int inputs, int scalars, List<DType> dtypes) {}

    /** A reduction, and how many tensors and scalars it takes. */
    record Reduction(Op<?, ?> op, int inputs, int scalars) {}

    private final List<Pointwise> pointwise = new ArrayList<>();
    private final List<Reduction> reductions = new ArrayList<>();
    private final List<OpSamples<?, ?>> rows = new ArrayList<>();
    private final List<MethodCallee> methods = new ArrayList<>();
    private final List<MethodCallee> plainMethods = new ArrayList<>();

    /** Calls that need few kernels, for devices where each new one costs the run of a compiler. */
    private static final Set<String> POOL = Set.of(
            "add",
            "sub",
            "mul",
            "div",
            "neg",
            "relu",
            "exp",
            "tanh",
            "sigmoid",
            "square",
            "maximum",
            "sum",
            "mean",
            "amax",
            "matmul",
            "softmax",
            "transpose",
            "permute",
            "slice",
            "select",
            "narrow",
            "view",
            "reshape",
            "expand",
            "unsqueeze",
            "squeeze",
            "flatten",
            "copy",
            "contiguous",
            "cat",
            "stack",
            "gather",
            "scatterAdd",
            "indexSelect",
            "indexAdd",
            "embedding",
            "where",
            "maskedFill",
            "add_",
            "mul_",
            "copy_",
            "zero_",
            "relu_",
            "topk",
            "cumsum",
            "split",
            "chunk",
            "unbind",
            "diagonal",
            "tril",
            "flip");

    private static final Set<String> POOL_ROWS = Set.of(
            "merapi::matmul",
            "merapi::linear",
            "merapi::layer_norm",
            "merapi::cross_entropy",
            "merapi::attention",
            "merapi::conv2d",
            "merapi::max_pool2d",
            "merapi::index_select",
            "merapi::scatter_add",
            "merapi::embedding",
            "merapi::log_softmax",
            "merapi::topk");

    private final boolean closed;

    /** @param closed whether only a fixed, small set of kernels may be needed */
    Catalogue(boolean closed) {
        this.closed = closed;
        Ops.builtIn();
        Map<Op<?, ?>, PointwiseOp> inPlace = new HashMap<>();
        Set<Class<?>> seen = new HashSet<>();
        // Only Merapi's own: a series is the same whatever other ops a process has.
        List<Op<?, ?>> ops = OpRegistry.all().stream()
                .filter(op -> op.name().startsWith("merapi::"))
                .toList();
        for (Op<?, ?> op : ops) {
            Class<?> home = homeOf(op);
            if (home != null && seen.add(home)) {
                readFields(home, inPlace);
            }
        }
        for (Op<?, ?> op : ops) {
            Object code = op.definition().code();
            String first = RecordType.of(op.schema().type(), null)
                    .name(RecordType.of(op.schema().type(), null).size() - 1);
            if (!closed
                    && code instanceof PointwiseCode p
                    && first.equals("scalars")
                    && !op.definition().isMutating()) {
                pointwise.add(described(op, p, inPlace.get(op)));
            } else if (!closed && code instanceof ReduceCode r && first.equals("scalars")) {
                reductions.add(new Reduction(op, r.inputs(), scalars(List.of(r.prologue()))));
            }
        }
        for (OpSamples<?, ?> row : OpRows.all()) {
            if (row.op().definition().code() == null
                    && (!closed || POOL_ROWS.contains(row.op().name()))) {
                rows.add(row);
            }
        }
        if (!closed) {
            rows.addAll(RowlessOps.all());
        }
        for (Method m : Tensor.class.getMethods()) {
            if (isCalled(m) && (!closed || POOL.contains(m.getName()) && !hasNumbers(m))) {
                methods.add(new MethodCallee(m));
            }
        }
        methods.sort(Comparator.comparing(m -> m.method().toGenericString()));
        for (MethodCallee m : methods) {
            if (!m.isStatic()
                    && !m.writes()
                    && m.method().getParameterCount() == 0
                    && m.method().getReturnType() == Tensor.class) {
                plainMethods.add(m);
            }
        }
    }

    private static @Nullable Class<?> homeOf(Op<?, ?> op) {
        String name = op.definedAt().toString();
        int paren = name.indexOf('(');
        String file = paren < 0 ? name : name.substring(paren + 1);
        int dot = file.indexOf(".java");
        if (dot < 0) {
            return null;
        }
        try {
            return Class.forName("dev.merapi.ops." + file.substring(0, dot));
        } catch (ClassNotFoundException e) {
            return null;
        }
    }

    private static void readFields(Class<?> home, Map<Op<?, ?>, PointwiseOp> inPlace) {
        for (Field f : home.getFields()) {
            if (!Modifier.isStatic(f.getModifiers())) {
                continue;
            }
            try {
                Object value = f.get(null);
                String name = home.getSimpleName() + "." + f.getName();
                if (value instanceof Op<?, ?> op) {
                    FIELDS.putIfAbsent(op.name(), name);
                } else if (value instanceof PointwiseOp p) {
                    FIELDS.putIfAbsent(p.op().name(), name + ".op()");
                    inPlace.put(p.op(), p);
                } else if (value instanceof ReductionOp r) {
                    FIELDS.putIfAbsent(r.op().name(), name + ".op()");
                }
            } catch (IllegalAccessException e) {
                throw new LinkageError("cannot read " + f, e);
            }
        }
    }

    private static Pointwise described(Op<?, ?> op, PointwiseCode code, @Nullable PointwiseOp inPlace) {
        int scalars = scalars(code.roots());
        List<DType> dtypes = new ArrayList<>();
        for (DType dtype : DType.values()) {
            Tensor[] operands = new Tensor[code.inputs()];
            Arrays.fill(operands, Tensor.meta(Shape.of(2), dtype, dev.merapi.types.Device.CPU));
            List<Number> ones = new ArrayList<>(java.util.Collections.nCopies(scalars, (Number) 1));
            try {
                code.specialize(operands, ones);
                dtypes.add(dtype);
            } catch (RuntimeException e) {
                // it has not this dtype
            }
        }
        return new Pointwise(op, inPlace, code.inputs(), scalars, dtypes);
    }

    private static int scalars(List<Expr> roots) {
        return roots.stream()
                .mapToInt(r -> Variable.uses(r, Variable.Role.SCALAR).length())
                .max()
                .orElse(0);
    }

    private static boolean isCalled(Method m) {
        Class<?> result = m.getReturnType();
        boolean tensors =
                result == Tensor.class || result == List.class && !m.getName().equals("largest") || result.isRecord();
        if (!tensors || NOT_CALLED.contains(m.getName()) || m.getDeclaringClass() == Object.class) {
            return false;
        }
        if (Modifier.isStatic(m.getModifiers()) && !takesTensor(m)) {
            return false;
        }
        return Arrays.stream(m.getParameters()).map(Parameter::getType).allMatch(PARAMETERS::contains);
    }

    /** Kernels differ by the kinds of numbers. */
    private static boolean hasNumbers(Method m) {
        return Arrays.stream(m.getParameterTypes()).anyMatch(t -> t == Number.class || t == DType.class);
    }

    boolean isClosed() {
        return closed;
    }

    private static boolean takesTensor(Method m) {
        return Arrays.stream(m.getParameterTypes()).anyMatch(t -> t == Tensor.class || t == List.class);
    }

    List<Pointwise> pointwise() {
        return pointwise;
    }

    List<Reduction> reductions() {
        return reductions;
    }

    List<OpSamples<?, ?>> rows() {
        return rows;
    }

    List<MethodCallee> methods() {
        return methods;
    }

    /** Methods that take nothing but their receiver, and write nothing. */
    List<MethodCallee> plainMethods() {
        return plainMethods;
    }

    /** Ops that round to the dtype at each term of a sum. */
    static Set<String> roundingEachTerm() {
        Set<String> names = new HashSet<>();
        for (OpSamples<?, ?> row : OpRows.all()) {
            if (row.roundsEach()) {
                names.add(row.op().name());
            }
        }
        names.add(LinearCrossEntropy.LINEAR_CROSS_ENTROPY.name()); // its logits have the dtype of x
        return names;
    }

    /** {@code Convolution.CONV2D}; null if no public field has it. */
    static @Nullable String fieldOf(Op<?, ?> op) {
        return FIELDS.get(op.name());
    }

    static List<Tensor> tensorsOf(Record r) {
        List<Tensor> all = new ArrayList<>();
        for (RecordComponent c : r.getClass().getRecordComponents()) {
            try {
                all.add((Tensor) c.getAccessor().invoke(r));
            } catch (ReflectiveOperationException e) {
                throw new LinkageError("cannot read " + c, e);
            }
        }
        return all;
    }

    /** What follows a call with this result to reach its {@code i}-th tensor. */
    static String part(Class<?> result, int i) {
        return result == List.class
                ? ".get(" + i + ")"
                : result.isRecord() ? "." + result.getRecordComponents()[i].getName() + "()" : "";
    }
}
