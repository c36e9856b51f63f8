// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.error.DTypeException;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.SmallFloat;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Operands of all dtypes beside each other: what PyTorch makes of them (src/test/python/promotion.py), for built-in ops. */
public abstract class PromotionContract {
    /** One line of the table in so many is tried. */
    protected int every() {
        return 1;
    }

    protected abstract Device device();

    private record Row(PointwiseOp op, List<Number> scalars, double... values) {}

    private static final Map<String, Row> ROWS = new HashMap<>();

    static {
        ROWS.put("addcmul", new Row(Arithmetic.ADDCMUL, List.of(3), 0.1, 200, 190));
        ROWS.put("addcdiv", new Row(Arithmetic.ADDCDIV, List.of(3), 0.1, 200, 7));
        ROWS.put("clamp_tensor", new Row(Arithmetic.CLAMP_TENSOR, List.of(), 5, 0.1, 200.3));
        ROWS.put("where", new Row(Comparisons.WHERE, List.of(), 0.1, 200.3));
        ROWS.put("add_scaled", new Row(Arithmetic.ADD_SCALED, List.of(3), 0.1, 200.3));
        ROWS.put("pow", new Row(Arithmetic.POW, List.of(), 1.1, 3));
        ROWS.put("div", new Row(Arithmetic.DIV, List.of(), 1, 3));
        ROWS.put("atan2", new Row(Arithmetic.ATAN2, List.of(), 1, 3));
        ROWS.put("remainder", new Row(Arithmetic.REMAINDER, List.of(), 200, 3.25));
        ROWS.put("fmod", new Row(Arithmetic.FMOD, List.of(), 200, 3.25));
        ROWS.put("floor_divide", new Row(Arithmetic.FLOOR_DIVIDE, List.of(), 200, 3.25));
        ROWS.put("maximum", new Row(Arithmetic.MAXIMUM, List.of(), 0.1, 200.3));
        ROWS.put("copysign", new Row(Arithmetic.COPYSIGN, List.of(), 0.1, 200.3));
        ROWS.put("mul", new Row(Arithmetic.MUL, List.of(), 0.1, 200.3));
        ROWS.put("sub", new Row(Arithmetic.SUB, List.of(), 0.1, 200.3));
        ROWS.put("add_scalar_2.5", new Row(Arithmetic.ADD_SCALAR, List.of(2.5), 0.1));
        ROWS.put("mul_scalar_3", new Row(Arithmetic.MUL_SCALAR, List.of(3), 200.3));
        ROWS.put("rdiv_scalar_1", new Row(Arithmetic.RDIV_SCALAR, List.of(1), 3));
        ROWS.put("pow_scalar_2.5", new Row(Arithmetic.POW_SCALAR, List.of(2.5), 3));
        ROWS.put("clamp_min_0.5", new Row(Arithmetic.CLAMP_MIN, List.of(0.5), 0.1));
        ROWS.put("leaky_relu_0.1", new Row(Activations.LEAKY_RELU, List.of(0.1), -3));
    }

    // ---------------------------------------------------------------- a target that is wider than all operands

    /** It takes the result as it would be apart: in the operands' common dtype, with no more digits. */
    @Test
    void aWiderTargetTakesWhatWasComputed() {
        float[] x = {0.1f, 16777217, 3e38f, -1 / 3f, 1e-30f, Float.NaN};
        float[] y = {3, 1.5f, 10, 0.7f, 1e-12f, 1};
        double[] product = new double[x.length];
        double[] sum = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            product[i] = x[i] * y[i];
            sum[i] = x[i] + y[i];
        }
        writes(Arithmetic.MUL, DType.FLOAT64, Tensor.of(x), Tensor.of(y), product);
        writes(Arithmetic.ADD, DType.FLOAT64, Tensor.of(x), Tensor.of(y), sum);
        Tensor half = Tensor.of(0.1f, 3f).to(DType.BFLOAT16);
        float tenth = half.toFloatArray()[0];
        float square = SmallFloat.bfloatToFloat(SmallFloat.floatToBfloat(tenth * tenth));
        writes(Arithmetic.MUL, DType.FLOAT32, half, half, square, 9);
        writes(Arithmetic.MUL, DType.FLOAT64, half, half, square, 9);
        int root = 46341; // its square is beyond int32, and wraps
        Tensor large = Tensor.of(1 << 20, root);
        writes(Arithmetic.MUL, DType.INT64, large, large, 0, root * root);
        writes(Arithmetic.MUL, DType.FLOAT64, large, large, 0, root * root);
    }

    private void writes(PointwiseOp op, DType target, Tensor x, Tensor y, double... expected) {
        try (Scope scope = Scope.open()) {
            Tensor out = Tensor.zeros(x.shape(), target, device());
            op.into(out, List.of(x.to(device()), y.to(device())), List.of());
            String what = op + " of " + x.dtype() + " into " + target;
            assertEquals(
                    Arrays.toString(expected),
                    Arrays.toString(out.to(DType.FLOAT64).toDoubleArray()),
                    what);
        }
    }

    // ---------------------------------------------------------------- PyTorch's table

    @Test
    void valuesAndDtypesAreThoseOfPyTorch() throws IOException {
        List<String> wrong = new ArrayList<>();
        int tried = 0;
        int number = 0;
        for (String line : table()) {
            if (number++ % every() != 0) {
                continue;
            }
            String[] words = line.split(" ");
            Row row = Objects.requireNonNull(ROWS.get(words[0]), words[0]);
            int n = row.values.length;
            DType[] dtypes = new DType[n];
            for (int k = 0; k < n - 1; k++) {
                dtypes[k] = named(words[2 + k]);
            }
            for (int c = 0; c < LAST.size(); c++) {
                dtypes[n - 1] = LAST.get(c);
                String cell = words[n + 2 + c];
                // Of bools only, PyTorch makes a bool of the scale.
                boolean scaledBools =
                        words[0].equals("add_scaled") && dtypes[0] == dtypes[1] && dtypes[0] == DType.BOOL;
                if (!cell.equals("-") && !scaledBools) {
                    tried++;
                    compare(words[0], row, Integer.parseInt(words[1]), dtypes, cell, wrong);
                }
            }
        }
        assertTrue(wrong.isEmpty(), wrong.size() + " of " + tried + " differ, such as\n" + first(wrong));
        assertTrue(tried > 3000 / (2 * every()), "only " + tried + " were tried");
    }

    /** As promotion.py has them. */
    private static final List<DType> LAST = Stream.of(
                    "f32", "f64", "f16", "bf16", "i32", "i64", "u8", "bool", "i8", "i16")
            .map(PromotionContract::named)
            .toList();

    private static List<String> table() throws IOException {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(
                Objects.requireNonNull(PromotionContract.class.getResourceAsStream("golden/promotion.txt")),
                StandardCharsets.UTF_8))) {
            return in.lines().filter(line -> !line.startsWith("#")).toList();
        }
    }

    private void compare(String name, Row row, int rank0, DType[] dtypes, String cell, List<String> wrong) {
        try (Scope scope = Scope.open()) {
            List<Tensor> operands = new ArrayList<>();
            if (row.op == Comparisons.WHERE) {
                operands.add(Tensor.of(true, false).to(device()));
            }
            for (int k = 0; k < dtypes.length; k++) {
                operands.add(operand(row.values[k], dtypes[k], (rank0 >> k & 1) != 0));
            }
            DType dtype = named(cell.substring(0, cell.indexOf(':')));
            double value = number(cell.substring(cell.indexOf(':') + 1));
            String what = name + Arrays.toString(dtypes) + " rank 0: " + rank0 + ", PyTorch " + cell + ", here ";
            Tensor r;
            try {
                r = row.op.call(operands, row.scalars);
            } catch (DTypeException e) {
                wrong.add(what + e.getMessage());
                return;
            }
            check(what, dtype, value, r, wrong);
            if (row.op != Comparisons.WHERE && operands.get(0).shape().equals(r.shape()) && dtypes[0] == dtype) {
                Tensor x = operands.get(0).copy();
                List<Tensor> others = new ArrayList<>(operands);
                others.set(0, x);
                try {
                    check(what + "in place ", dtype, value, row.op.into(x, others, row.scalars), wrong);
                } catch (DTypeException e) {
                    wrong.add(what + "in place: " + e.getMessage());
                }
            }
        }
    }

    private static void check(String what, DType dtype, double value, Tensor r, List<String> wrong) {
        double[] all = r.toDoubleArray();
        double got = all[all.length - 1];
        double bound = 2 * dtype.epsilon() * Math.abs(value);
        boolean same = Double.compare(got, value) == 0 || Math.abs(got - value) <= bound;
        if (r.dtype() != dtype || !same) {
            wrong.add(what + r.dtype() + ":" + got);
        }
    }

    private Tensor operand(double value, DType dtype, boolean rank0) {
        double v = switch (dtype.kind()) {
            case BOOLEAN -> value != 0 ? 1 : 0;
            case INTEGRAL -> dtype.wrap((long) value);
            case FLOATING -> value;
        };
        Tensor t = rank0 ? Tensor.of(new double[] {v}, new long[0]) : Tensor.of(new double[] {v, v});
        return t.to(dtype).to(device());
    }

    private static DType named(String name) {
        return Arrays.stream(DType.values())
                .filter(d -> d.shortName().equals(name))
                .findFirst()
                .orElseThrow();
    }

    private static double number(String text) {
        return switch (text) {
            case "inf" -> Double.POSITIVE_INFINITY;
            case "-inf" -> Double.NEGATIVE_INFINITY;
            case "nan" -> Double.NaN;
            default -> Double.parseDouble(text);
        };
    }

    private static String first(List<String> all) {
        return String.join("\n", all.subList(0, Math.min(40, all.size())));
    }

    // ---------------------------------------------------------------- by hand

    @Test
    void nothingIsComputedMoreNarrowlyThanTheResult() {
        try (Scope scope = Scope.open()) {
            Tensor wide = of(DType.FLOAT64, 1);
            Tensor narrow = of(DType.FLOAT32, 0.1f);
            Tensor integer = of(DType.INT32, 70000);
            double tenth = 0.1f;
            assertEquals(1 + 3 * tenth, value(wide.add(narrow, 3.0)), 0);
            assertEquals(4.9e9 + 1, value(wide.addcmul(integer, integer, 1)), 0);
            assertEquals(1 + tenth * tenth, value(wide.addcmul(narrow, narrow, 1)), 1e-16);
            assertEquals(1 + tenth / 70000, value(wide.addcdiv(narrow, integer, 1)), 1e-16);
            assertEquals(
                    tenth + 0.3 * (0.7f - tenth),
                    value(narrow.lerp(of(DType.FLOAT32, 0.7f), of(DType.FLOAT64, 0.3))),
                    1e-16);
            assertEquals(Math.pow(1.1f, 3), value(of(DType.FLOAT32, 1.1f).pow(of(DType.FLOAT64, 3))), 1e-15);
            assertEquals(4.9e9, value(Reductions.SUM_SQUARES.call(integer, new int[0], false, DType.FLOAT64)), 0);
            assertEquals(4900000000L, (long) value(Reductions.SUM_SQUARES.call(integer)));
            assertEquals(
                    tenth * tenth, value(Reductions.SUM_SQUARES.call(narrow, new int[0], false, DType.FLOAT64)), 0);
        }
    }

    private static final PointwiseOp MULTIPLY_ADD =
            Pointwise.define("test::multiply_add", (x, y, z) -> x.mul(y).add(z));
    private static final ReductionOp DOT = ReductionOp.define("test::dot_of_own", (x, y) -> x.mul(y), Combine.SUM);

    /** In people's expressions floats are computed in the widest float; integers are integers until they meet one. */
    @Test
    void peoplesExpressionsWidenFloatsAndKeepIntegers() {
        try (Scope scope = Scope.open()) {
            Tensor integer = of(DType.INT32, 70000);
            Tensor narrow = of(DType.FLOAT32, 0.1f);
            double tenth = 0.1f;
            assertEquals(
                    (int) (70000L * 70000) + 0.5,
                    value(MULTIPLY_ADD.call(integer, integer, of(DType.FLOAT64, 0.5))),
                    0);
            assertEquals(tenth * tenth + 1, value(MULTIPLY_ADD.call(narrow, narrow, of(DType.FLOAT64, 1))), 0);
            assertEquals(tenth * tenth, value(DOT.call(narrow, narrow, new int[0], false, DType.FLOAT64)), 0);
        }
    }

    private Tensor of(DType dtype, double value) {
        return Tensor.of(new double[] {value}).to(dtype).to(device());
    }

    private static double value(Tensor t) {
        return t.toDoubleArray()[0];
    }
}
