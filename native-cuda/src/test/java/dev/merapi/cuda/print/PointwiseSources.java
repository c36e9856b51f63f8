// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.DTypeException;
import dev.merapi.expr.ir.Variable;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Elementary;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The built-in pointwise ops, and the kernels that are printed for them. */
public final class PointwiseSources {
    private PointwiseSources() {}

    /** By name. */
    public static Map<String, PointwiseOp> builtIn() throws IllegalAccessException {
        TreeMap<String, PointwiseOp> ops = new TreeMap<>();
        for (Class<?> family : List.of(Arithmetic.class, Elementary.class, Activations.class, Comparisons.class)) {
            for (Field f : family.getDeclaredFields()) {
                if (Modifier.isStatic(f.getModifiers()) && f.getType() == PointwiseOp.class) {
                    f.setAccessible(true);
                    PointwiseOp op = (PointwiseOp) f.get(null);
                    ops.put(op.op().name(), op);
                }
            }
        }
        return ops;
    }

    /** Scalar arguments that suit the dtype. */
    public static List<Number> scalars(PointwiseOp op, DType dtype) {
        int n = PointwiseCode.of(op.op()).roots().stream()
                .mapToInt(r -> Variable.uses(r, Variable.Role.SCALAR).length())
                .max()
                .orElse(0);
        List<Number> values = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            values.add(dtype.isFloating() ? (Number) (0.5 + i) : (Number) (2L + i));
        }
        return values;
    }

    /** The kernel for row-major operands of one dtype; null if the op is not defined for it. */
    public static @Nullable KernelSource of(PointwiseOp op, DType dtype) {
        return of(op, dtype, -1, new long[] {64}, new long[] {64}, new long[] {64}, new long[] {64});
    }

    /** As above for operands of these shapes; of the first one dimension {@code swapped}, if not −1, is exchanged with the last. */
    public static @Nullable KernelSource of(PointwiseOp op, DType dtype, int swapped, long[]... shapes) {
        int n = PointwiseCode.of(op.op()).inputs();
        Tensor[] inputs = new Tensor[n];
        Shape shape = Shape.of(shapes[0]);
        for (int i = 0; i < n; i++) {
            inputs[i] = TENSORS.allocate(Shape.of(shapes[i]), dtype, Device.CPU);
            if (i == 0 && swapped >= 0) {
                inputs[i] = inputs[i].transpose(swapped, -1);
                shape = inputs[i].shape();
            }
            shape = Shape.broadcast("sources", shape, inputs[i].shape());
        }
        PointwiseCode.Specialized code;
        try {
            code = PointwiseCode.of(op.op()).specialize(inputs, scalars(op, dtype));
        } catch (DTypeException e) {
            return null;
        }
        int outputs = code.program().outputDTypes().size();
        Tensor[] operands = new Tensor[outputs + n];
        for (int k = 0; k < outputs; k++) {
            operands[k] = TENSORS.allocate(shape, code.output(k), Device.CPU);
        }
        System.arraycopy(inputs, 0, operands, outputs, n);
        Collapsed space = Collapsed.of(shape, operands);
        PointwiseVariant variant = PointwiseVariant.of(space, shape.numel(), operands);
        return PointwisePrinter.source(op.op().name(), code.program(), variant);
    }
}
