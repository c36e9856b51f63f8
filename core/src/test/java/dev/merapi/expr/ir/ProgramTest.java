// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.Expr.constant;
import static dev.merapi.expr.Expr.input;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Compiled programs: their text, their simplification and the interpreter, against evaluations that share no code. */
class ProgramTest {
    private static final Expr X = input(0);
    private static final Expr Y = input(1);
    private static final Opcode[] UNARY = {
        Opcode.NEG,
        Opcode.ABS,
        Opcode.SIGN,
        Opcode.SQUARE,
        Opcode.RELU,
        Opcode.FLOOR,
        Opcode.RECIPROCAL,
        Opcode.SQRT,
        Opcode.EXP,
        Opcode.TANH,
        Opcode.SIN,
        Opcode.SIGMOID,
        Opcode.LOG
    };
    private static final Opcode[] UNARY_INTEGER = {
        Opcode.NEG, Opcode.ABS, Opcode.SIGN, Opcode.SQUARE, Opcode.RELU, Opcode.BITNOT
    };
    private static final Opcode[] BINARY = {Opcode.ADD, Opcode.SUB, Opcode.MUL, Opcode.DIV, Opcode.MIN, Opcode.MAX};
    private static final Opcode[] BINARY_INTEGER = {
        Opcode.ADD, Opcode.SUB, Opcode.MUL, Opcode.MIN, Opcode.MAX, Opcode.XOR, Opcode.FLOORDIV, Opcode.REM
    };
    private static final Opcode[] COMPARISONS = {Opcode.EQ, Opcode.NE, Opcode.LT, Opcode.LE, Opcode.GT, Opcode.GE};

    /** A random expression, from few leaves, so that simplifications and shared subexpressions abound. */
    private static Expr random(Random random, int depth, boolean integer) {
        if (depth == 0 || random.nextInt(6) == 0) {
            double[] numbers = {0, -0.0, 1, -1, 2, 0.5, 3, -4};
            int pick = random.nextInt(12);
            double number = numbers[pick % 8];
            return pick >= 8 ? input(pick % 3) : integer ? constant((long) number) : constant(number);
        }
        Expr a = random(random, depth - 1, integer);
        switch (random.nextInt(5)) {
            case 0, 1 -> {
                Opcode[] ops = integer ? UNARY_INTEGER : UNARY;
                return Apply.of(ops[random.nextInt(ops.length)], a);
            }
            case 2, 3 -> {
                Opcode[] ops = integer ? BINARY_INTEGER : BINARY;
                return Apply.of(ops[random.nextInt(ops.length)], a, random(random, depth - 1, integer));
            }
            default -> {
                Expr b = random(random, depth - 1, integer);
                Expr condition = Apply.of(COMPARISONS[random.nextInt(6)], a, random(random, 1, integer));
                return (random.nextBoolean() ? condition : condition.not())
                        .select(b, random(random, depth - 1, integer));
            }
        }
    }

    /** One program an op, so that nothing can be simplified: the meaning of the tree, node by node. */
    private static double unsimplified(Expr e, double[] at) {
        if (e instanceof Variable v) {
            return at[v.index()];
        }
        if (e instanceof Constant c) {
            return c.doubleValue();
        }
        Apply apply = (Apply) e;
        double[] operands =
                apply.operands().stream().mapToDouble(x -> unsimplified(x, at)).toArray();
        Expr[] inputs = new Expr[operands.length];
        for (int k = 0; k < inputs.length; k++) {
            inputs[k] = input(k);
        }
        return Evaluation.float64(Apply.of(apply.op(), inputs), operands);
    }

    private static long unsimplifiedInteger(Expr e, long[] at) {
        if (e instanceof Variable v) {
            return at[v.index()];
        }
        if (e instanceof Constant c) {
            return c.longValue();
        }
        Apply apply = (Apply) e;
        long[] operands = apply.operands().stream()
                .mapToLong(x -> unsimplifiedInteger(x, at))
                .toArray();
        Expr[] inputs = new Expr[operands.length];
        for (int k = 0; k < inputs.length; k++) {
            inputs[k] = input(k);
        }
        return Evaluation.integer(Apply.of(apply.op(), inputs), DType.INT64, operands);
    }

    @Test
    void simplifiedFloatsKeepTheirValue() {
        Random random = new Random(11);
        double[] values = {0, -0.0, 1, -1, 0.3, -2.7, 1e200, Double.POSITIVE_INFINITY, Double.NaN, 1e-310};
        for (int trial = 0; trial < 3000; trial++) {
            Expr e = random(random, 4, false);
            double[] at = new double[3];
            for (int k = 0; k < 3; k++) {
                at[k] = values[random.nextInt(values.length)];
            }
            double expected = unsimplified(e, at);
            Program program = Program.compile(
                    List.of(e),
                    Collections.nCopies(3, DType.FLOAT64),
                    new boolean[3],
                    List.of(),
                    List.of(DType.FLOAT64));
            BlockSource[] sources = new BlockSource[3];
            for (int k = 0; k < 3; k++) {
                sources[k] = BlockSource.of(new double[] {at[k]});
            }
            double actual = Evaluation.run(program, sources);
            String what = e + " at " + Arrays.toString(at) + "\n" + program;
            assertEquals(expected, actual, what);
            Number[] byText = new TextEvaluator(program.text()).evaluate(at[0], at[1], at[2]);
            double tolerance = Double.isFinite(expected) ? Math.max(Math.abs(expected) * 1e-13, 1e-300) : 1e-300;
            assertEquals(expected, byText[0].doubleValue(), tolerance, what);
        }
    }

    @Test
    void simplifiedIntegersKeepTheirValue() {
        Random random = new Random(12);
        for (int trial = 0; trial < 3000; trial++) {
            Expr e = random(random, 4, true);
            long[] at = {random.nextLong() >> random.nextInt(64), random.nextInt(5) - 2, random.nextLong()};
            long expected = unsimplifiedInteger(e, at);
            Program program = Program.compile(
                    List.of(e), Collections.nCopies(3, DType.INT64), new boolean[3], List.of(), List.of(DType.INT64));
            BlockSource[] sources = new BlockSource[3];
            for (int k = 0; k < 3; k++) {
                sources[k] = BlockSource.of(new long[] {at[k]});
            }
            long[] result = new long[1];
            program.run(0, 1, sources, new BlockSink[] {BlockSink.into(result)}, new double[0], new long[0]);
            assertEquals(expected, result[0], () -> e + "\n" + program);
            assertEquals(expected, new TextEvaluator(program.text()).evaluate(at[0], at[1], at[2])[0].longValue());
        }
    }

    @Test
    void everyDTypeGivesAWellFormedText() {
        Random random = new Random(13);
        for (int trial = 0; trial < 500; trial++) {
            List<Expr> roots = List.of(random(random, 4, false), random(random, 5, false), random(random, 3, true));
            for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64)) {
                Program program = Program.compile(
                        roots.subList(0, 2), List.of(dtype, DType.INT32, DType.UINT8), new boolean[3], List.of(), null);
                new TextEvaluator(program.text());
            }
            for (DType dtype : List.of(DType.UINT8, DType.INT32, DType.INT64)) {
                new TextEvaluator(Program.compile(roots.subList(2, 3), Collections.nCopies(3, dtype))
                        .text());
            }
        }
    }

    @Test
    void derivativesOfAnyOrderFitIntoTheRegisters() {
        Expr f = Exprs.gelu(X.mul(Y)).mul(Exprs.silu(X)).add(X.pow(Y)).div(Y.softplus());
        for (int order = 1; order <= 3; order++) {
            Expr whole = f;
            f = Derivative.vjp(f, 2)
                    .get(0)
                    .substitute(v -> v == Expr.gradient(0) ? constant(1.0) : v == Expr.output(0) ? whole : v);
            Program program = Program.compile(List.of(f), List.of(DType.FLOAT32, DType.FLOAT32));
            assertTrue(
                    program.registers().size() <= 64,
                    "order " + order + ": " + program.registers().size());
        }
    }

    @Test
    void theTextIsThatOfTheContract() {
        Program program = Program.compile(
                List.of(X.mul(Expr.scalar(0)).add(Y).relu(), X.gt(0)),
                List.of(DType.BFLOAT16, DType.FLOAT32),
                new boolean[2],
                List.of(DType.Kind.FLOATING),
                List.of(DType.FLOAT16, DType.BOOL));
        assertEquals("""
                in 0 bf16
                in 1 f32
                out 0 f16
                out 1 bool
                r0 = scalar.f32 0
                r1 = const.f32 0x00000000
                r2 = load 0
                r3 = mul.f32 r2 r0
                r4 = load 1
                r5 = add.f32 r3 r4
                r3 = relu.f32 r5
                r6 = gt.f32 r2 r1
                store 0 r3
                store 1 r6
                """, program.text());
        assertEquals(2, program.prologue());
        assertTrue(Program.compile(List.of(X.add(5).mul(0.5)), List.of(DType.INT64))
                .text()
                .startsWith("""
                        in 0 i64
                        out 0 f32
                        r0 = const.i64 0x0000000000000005
                        r1 = const.f32 0x3f000000
                        r2 = load 0
                        r3 = add.i64 r2 r0
                        r4 = cast.i64.f32 r3
                        """));
    }

    @Test
    void redundantWorkIsRemoved() {
        assertEquals(2, size(X.neg().neg().mul(1).sub(0)));
        assertEquals(3, size(X.mul(X)));
        assertEquals(
                size(X.exp().add(1.0)) + 2, size(X.exp().add(1.0).add(X.exp().div(3.0))));
        assertEquals(size(X.mul(0.5)), size(X.div(2)));
        assertEquals(size(X.mul(0.5)), size(X.mul(constant(0.25).sqrt())));
        assertEquals(2, size(constant(true).select(X, Y)));
        assertFalse(Program.compile(List.of(constant(true).select(X, Y)), List.of(DType.FLOAT32, DType.FLOAT32))
                .usedInputs()
                .get(1));
    }

    /** Instructions apart from constants. */
    private static long size(Expr e) {
        return Program.compile(List.of(e), List.of(DType.FLOAT32, DType.FLOAT32)).instructions().stream()
                .filter(i -> i.op() != Opcode.CONST)
                .count();
    }

    @Test
    void eachOutputTellsWhatItUses() {
        Program program = Program.compile(List.of(X.add(input(2)), Y.exp()), Collections.nCopies(3, DType.FLOAT32));
        assertEquals(BitSet.valueOf(new long[] {5}), program.usedInputs(0));
        assertEquals(BitSet.valueOf(new long[] {2}), program.usedInputs(1));
        assertEquals(BitSet.valueOf(new long[] {7}), program.usedInputs());
    }

    @Test
    void blocksOfAnyLengthAndRangesGiveTheSame() {
        int n = 1000;
        double[] x = new Random(5).doubles(n).toArray();
        Program program =
                Program.compile(List.of(X.mul(3).exp().add(constant(2.0).sqrt())), List.of(DType.FLOAT64));
        double[] whole = new double[n];
        double[] parts = new double[n];
        BlockSource[] sources = {BlockSource.of(x)};
        program.run(0, n, sources, new BlockSink[] {BlockSink.into(whole)}, new double[0], new long[0]);
        List<Integer> cuts = new ArrayList<>(List.of(0, 0, 1, 8, 255, 300, 813, n));
        for (int k = 1; k < cuts.size(); k++) {
            BlockSink[] sinks = {BlockSink.into(parts)};
            program.run(cuts.get(k - 1), cuts.get(k), sources, sinks, new double[0], new long[0]);
        }
        assertArrayEquals(whole, parts);
        for (int i = 0; i < n; i++) {
            assertEquals(Math.exp(x[i] * 3) + Math.sqrt(2), whole[i]);
        }
    }

    @Test
    void scalarsArePassedPerCall() {
        Expr e = X.mul(Expr.scalar(0))
                .add(Expr.scalar(1).sub(1))
                .add(Expr.scalar(2).select(X, Y));
        Program program = Program.compile(
                List.of(e),
                List.of(DType.FLOAT64, DType.FLOAT64),
                new boolean[2],
                List.of(DType.Kind.FLOATING, DType.Kind.INTEGRAL, DType.Kind.BOOLEAN),
                null);
        BlockSource[] sources = {BlockSource.of(new double[] {3}), BlockSource.of(new double[] {100})};
        double[] out = new double[1];
        program.run(
                0, 1, sources, new BlockSink[] {BlockSink.into(out)}, new double[] {0.5, 7, 0}, new long[] {0, 7, 0});
        assertEquals(1.5 + 6 + 100, out[0]);
        assertThrows(
                IllegalArgumentException.class,
                () -> program.run(0, 1, sources, new BlockSink[] {BlockSink.into(out)}, new double[2], new long[3]));
    }

    @Test
    void arithmeticAmongScalarsIsDoneInDouble() {
        Expr corrected = X.div(constant(1.0).sub(Expr.scalar(0).pow(Expr.scalar(1))));
        List<DType.Kind> kinds = List.of(DType.Kind.FLOATING, DType.Kind.INTEGRAL);
        Program program = Program.compile(List.of(corrected), List.of(DType.FLOAT32), new boolean[1], kinds, null);
        assertEquals(List.of(DType.FLOAT32), program.outputDTypes());
        double[] out = new double[1];
        program.run(
                0,
                1,
                new BlockSource[] {BlockSource.of(new double[] {1})},
                new BlockSink[] {BlockSink.into(out)},
                new double[] {0.999, 1},
                new long[] {0, 1});
        assertEquals(1000, out[0], 1000 * 0x1p-23); // in float32, 1 − 0.999 would be wrong by 1e-5
    }

    @Test
    void manyValuesThatLiveAtTheSameTimeHaveRegisters() {
        List<Expr> roots = new ArrayList<>();
        BlockSink[] sinks = new BlockSink[70];
        double[][] out = new double[70][1];
        for (int k = 0; k < 70; k++) {
            roots.add(X.mul(k + 0.1).sin());
            sinks[k] = BlockSink.into(out[k]);
        }
        Program program = Program.compile(roots, List.of(DType.FLOAT64));
        program.run(0, 1, new BlockSource[] {BlockSource.of(new double[] {0.5})}, sinks, new double[0], new long[0]);
        for (int k = 0; k < 70; k++) {
            assertEquals(Math.sin(0.5 * (k + 0.1)), out[k][0], 1e-15);
        }
    }

    @Test
    void equalStructuresAreTheSameObject() {
        assertSame(X.mul(Y).add(1.5), input(0).mul(input(1)).add(constant(1.5)));
        assertFalse(constant(0.0) == constant(-0.0));
        assertFalse(X.add(1) == X.add(1.0));
        assertSame(X.exp(), Y.exp().substitute(v -> v == Y ? X : v));
    }

    @Test
    void formulasPrintAsMaths() {
        assertEquals(
                "x0 * (x1 + 1) - -x0 / 2.0",
                X.mul(Y.add(1)).sub(X.neg().div(2.0)).toString());
        assertEquals(
                "where(x0 > 0, sigmoid(x0), s0)",
                X.gt(0).select(X.sigmoid(), Expr.scalar(0)).toString());
        Expr deep = X;
        for (int k = 0; k < 200; k++) {
            deep = deep.mul(deep).add(1);
        }
        assertTrue(deep.toString().length() < 20_000);
    }
}
