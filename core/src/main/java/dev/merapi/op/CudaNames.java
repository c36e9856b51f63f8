// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import java.lang.reflect.ParameterizedType;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * What things are called in a {@link CudaKernel}: the components of the op's records by their own names, results and
 * gradients by names made of those. No two may share a name, nor may one have a name that CUDA C++ or the text around a
 * body gives to something else: one of them would silently stand for the other.
 */
public final class CudaNames {
    /** Words and macros of the language, on a device and on the simulator. */
    private static final Set<String> LANGUAGE =
            Set.of(("alignas alignof and and_eq asm auto bitand bitor bool break case"
                            + " catch char char16_t char32_t char8_t class co_await co_return co_yield compl concept const const_cast"
                            + " consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum"
                            + " explicit export extern false float for friend goto if inline int long mutable namespace new noexcept"
                            + " not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires"
                            + " return short signed sizeof static static_assert static_cast struct switch template this"
                            + " thread_local throw true try typedef typeid typename union unsigned using virtual void volatile"
                            + " wchar_t while xor xor_eq typeof assert linux unix NULL INFINITY NAN FLT_MAX FLT_MIN FLT_EPSILON"
                            + " DBL_MAX DBL_MIN DBL_EPSILON INT_MAX INT_MIN UINT_MAX LLONG_MAX LLONG_MIN M_PI isnan isinf isfinite"
                            + " signbit CUDASIM threadIdx blockIdx blockDim gridDim warpSize")
                    .split(" "));

    /** What the text around a body is made of. */
    private static final Set<String> AROUND = Set.of(
            "merapi",
            "merapi_arguments",
            "element",
            "acc_t",
            "body",
            "Unwanted",
            "OverRow",
            "Add",
            "Largest",
            "Smallest");

    /** Tensors after which the type of the elements, {@code x_t}, would be another. */
    private static final Set<String> TYPES = Set.of(
            "scalar",
            "acc",
            "size",
            "ssize",
            "ptrdiff",
            "wchar",
            "char8",
            "char16",
            "char32",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "intptr",
            "uintptr",
            "nullptr",
            "max_align");

    private final String kernel;
    private final CudaKernel code;
    private final Map<String, String> owners = new LinkedHashMap<>();

    private CudaNames(String kernel, CudaKernel code) {
        this.kernel = kernel;
        this.code = code;
    }

    /**
     * Checks the names in the kernels of an op.
     *
     * @param whole whether all pieces are there: one that returns what it writes has one tensor under two names
     * @throws SchemaException naming what shares a name, and a name to use
     */
    static void require(Definition<?, ?> op, boolean whole) {
        op.forEachPiece((key, value) -> {
            if (value instanceof CudaKernel code && key instanceof PieceKey.KernelKey) {
                new CudaNames(op.name(), code).forward(op, whole);
            } else if (value instanceof CudaKernel code) {
                new CudaNames("backward of " + op.name(), code).backward(op);
            }
        });
    }

    /**
     * Checks one more name among those of a backward kernel, whose saved values are known only when they are there.
     *
     * @param kernel its name, for messages
     * @param code of the kernel
     * @param name the one that is added
     * @param taken whether something else has it
     * @throws SchemaException naming it, and a name to use
     */
    public static void requireSaved(String kernel, CudaKernel code, String name, boolean taken) {
        CudaNames names = new CudaNames(kernel, Objects.requireNonNull(code, "code"));
        if (taken) {
            names.owners.put(name, "a gradient");
        }
        names.add(name, "the saved value '" + name + "'", true);
    }

    private void forward(Definition<?, ?> op, boolean whole) {
        List<String> outputs = outputs(op.result(), "");
        boolean lists = op.result().isList();
        List<String> written = op.schema().arguments().stream()
                .map(Schema.Argument::name)
                .filter(op.mutates()::contains)
                .toList();
        for (String name : outputs) {
            add(name, op.result().isTensor() ? "the result" : "the output '" + name + "' of the result", true);
        }
        arguments("", op.schema().record(), op.schema(), (name, what, tensor) -> {
            int same = outputs.indexOf(name);
            boolean returned = same >= 0
                    && (!whole
                            || op.returnsMutated()
                                    && same < written.size()
                                    && written.get(same).equals(name));
            if (!returned) {
                add(name, what, tensor);
            }
            refuseNumbered(lists, "out", name, what);
        });
    }

    private void backward(Definition<?, ?> op) {
        for (String name : outputs(op.result(), "d_")) {
            add(name, "the gradient " + name + " that comes in", true);
        }
        for (Schema.Argument a : op.schema().arguments()) {
            if (a.kind() == Schema.Kind.TENSOR || a.kind() == Schema.Kind.TENSORS) {
                String what = "the gradient of argument '" + a.name() + "'";
                add("d_" + a.name(), what, true);
                refuseNumbered(op.result().isList(), "d_out", "d_" + a.name(), what);
            }
        }
        arguments("", op.schema().record(), op.schema(), (name, what, tensor) -> {
            for (Schema.Argument a : op.schema().arguments()) {
                if (tensor && a.kind() == Schema.Kind.RECORD && name.startsWith(a.name() + "_")) {
                    throw new SchemaException(Message.of(kernel + ": argument '" + a.name()
                                    + "' is a record of tensors, which a CudaKernel writes no gradients of")
                            .fact("written at", code.origin())
                            .fix("give the formula in Java."));
                }
            }
        });
    }

    private static List<String> outputs(Result<?> result, String prefix) {
        if (result.isTensor()) {
            return List.of(prefix + "out");
        }
        return result.isList()
                ? List.of()
                : result.names().stream().map(n -> prefix + n).toList();
    }

    private interface Named {
        void add(String name, String what, boolean tensor);
    }

    /** The components of a record; those of nested ones with both names. */
    private static void arguments(String prefix, RecordType type, Schema schema, Named to) {
        for (int i = 0; i < type.size(); i++) {
            Class<?> raw = type.component(i).getType();
            boolean wrapped = raw == Optional.class;
            if (wrapped) {
                var of = ((ParameterizedType) type.component(i).getGenericType()).getActualTypeArguments()[0];
                raw = of instanceof Class<?> c ? c : Object.class;
            }
            String name = prefix + type.name(i);
            String what = "argument '" + name + "'";
            boolean tensor = type.component(i).getGenericType().getTypeName().contains(Tensor.class.getName());
            if (raw.isRecord()) {
                arguments(name + "_", RecordType.of(raw, schema.lookup()), schema, to);
                continue;
            }
            to.add(name, what, tensor);
            boolean nullable = Arrays.stream(
                            type.component(i).getAnnotatedType().getAnnotations())
                    .anyMatch(a -> a.annotationType().getSimpleName().equals("Nullable"));
            if (!tensor && (wrapped || nullable)) {
                to.add("has_" + name, "what tells whether " + what + " is there", false);
            }
        }
    }

    private void refuseNumbered(boolean lists, String stem, String name, String what) {
        if (lists && name.matches(stem + "\\d+")) {
            throw clash(name, "an element of the result", what);
        }
    }

    private void add(String name, String what, boolean tensor) {
        String before = owners.putIfAbsent(name, what);
        if (before != null) {
            throw clash(name, before, what);
        }
        String other = null;
        if (!code.isWhole()) {
            other = !name.matches("[A-Za-z_][A-Za-z0-9_]*") || name.contains("__") || name.matches("_[A-Z].*")
                    ? "nothing that has a name of its own"
                    : LANGUAGE.contains(name)
                            ? "a word of CUDA C++"
                            : AROUND.contains(name) || around(code.launch()).contains(name)
                                    ? "something around the body"
                                    : null;
        } else if (tensor && TYPES.contains(name)) {
            other = "the type " + name + "_t, which is another than that of its elements";
        }
        if (other != null) {
            throw new SchemaException(
                    Message.of(kernel + ": " + what + " is called '" + name + "', which in a CUDA kernel is " + other)
                            .fact("written at", code.origin())
                            .fix("give the component of the record another name, such as '" + free(name) + "'."));
        }
    }

    private SchemaException clash(String name, String one, String other) {
        return new SchemaException(
                Message.of(kernel + ": " + one + " and " + other + " are both called '" + name + "' in its CUDA kernel")
                        .fact("written at", code.origin())
                        .fix("give a component of the record another name, such as '" + free(name) + "'."));
    }

    private String free(String name) {
        String candidate =
                name.replaceFirst("^d_", "").replaceAll("[^A-Za-z0-9]+", "_").replaceAll("^_+|_+$", "");
        do {
            candidate += "_value";
        } while (owners.containsKey(candidate));
        return candidate;
    }

    /** What a body finds besides its operands. */
    private static Set<String> around(CudaKernel.Launch launch) {
        if (launch instanceof CudaKernel.Elements) {
            return Set.of("i", "n");
        }
        if (launch instanceof CudaKernel.Tiles) {
            return Set.of("n", "row", "rows", "column", "columns", "row0", "column0", "plane");
        }
        return launch instanceof CudaKernel.Explicit
                ? Set.of("n")
                : Set.of("n", "row", "rows", "columns", "t", "threads", "row_sum", "row_max", "row_min");
    }
}
