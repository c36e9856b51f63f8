// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.Expr.constant;
import static dev.merapi.expr.Expr.input;
import static dev.merapi.expr.Expr.scalar;
import static dev.merapi.types.DType.BFLOAT16;
import static dev.merapi.types.DType.BOOL;
import static dev.merapi.types.DType.FLOAT16;
import static dev.merapi.types.DType.FLOAT32;
import static dev.merapi.types.DType.FLOAT64;
import static dev.merapi.types.DType.INT32;
import static dev.merapi.types.DType.INT64;
import static dev.merapi.types.DType.UINT8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.error.DTypeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.types.DType;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Result dtypes, against tables written by hand after PyTorch's rules. */
class TypingTest {
    private static final Expr X = input(0);
    private static final Expr Y = input(1);

    private static DType type(Expr e, DType x, boolean xRank0, DType y, boolean yRank0) {
        List<DType.Kind> kinds = List.of(DType.Kind.BOOLEAN, DType.Kind.INTEGRAL, DType.Kind.FLOATING);
        return Program.compile(List.of(e), List.of(x, y), new boolean[] {xRank0, yRank0}, kinds, null)
                .outputDTypes()
                .get(0);
    }

    private static DType type(Expr e, DType x) {
        return type(e, x, false, FLOAT32, false);
    }

    @Test
    void tensorsPromoteByTheLattice() {
        DType[] order = {BOOL, UINT8, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64};
        DType[][] expected = {
            {BOOL, UINT8, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64},
            {UINT8, UINT8, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64},
            {INT32, INT32, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64},
            {INT64, INT64, INT64, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64},
            {FLOAT16, FLOAT16, FLOAT16, FLOAT16, FLOAT16, FLOAT32, FLOAT32, FLOAT64},
            {BFLOAT16, BFLOAT16, BFLOAT16, BFLOAT16, FLOAT32, BFLOAT16, FLOAT32, FLOAT64},
            {FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT64},
            {FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64},
        };
        for (int i = 0; i < order.length; i++) {
            for (int j = 0; j < order.length; j++) {
                DType both = expected[i][j];
                assertEquals(both, type(X.mul(Y), order[i], false, order[j], false), order[i] + " * " + order[j]);
                assertEquals(both, type(X.max(Y), order[i], true, order[j], true), "rank 0, both");
                assertEquals(both, type(X.gt(0).select(X, Y), order[i], false, order[j], false), "where");
                assertEquals(
                        both.isFloating() ? both : FLOAT32, type(X.div(Y), order[i], false, order[j], false), "div");
                assertEquals(BOOL, type(X.lt(Y), order[i], false, order[j], false), "lt");
            }
        }
    }

    @Test
    void rankZeroTensorsCountOnlyByCategory() {
        assertEquals(FLOAT16, type(X.add(Y), FLOAT16, false, FLOAT64, true));
        assertEquals(UINT8, type(X.add(Y), UINT8, false, INT64, true));
        assertEquals(FLOAT64, type(X.add(Y), INT64, false, FLOAT64, true));
        assertEquals(FLOAT16, type(X.add(Y), INT64, false, FLOAT16, true));
        assertEquals(INT32, type(X.add(Y), BOOL, false, INT32, true));
        assertEquals(FLOAT32, type(X.add(Y), FLOAT32, false, INT64, true));
        assertEquals(FLOAT32, type(X.add(Y), FLOAT64, true, FLOAT32, false));
        assertEquals(FLOAT64, type(X.mul(0.5), FLOAT64, true, FLOAT32, false));
    }

    @Test
    void weakNumbersOnlyRaiseTheCategory() {
        DType[] inputs = {BOOL, UINT8, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64};
        DType[] withInteger = {INT64, UINT8, INT32, INT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64};
        DType[] withFloat = {FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT16, BFLOAT16, FLOAT32, FLOAT64};
        for (int i = 0; i < inputs.length; i++) {
            assertEquals(inputs[i], type(X.add(scalar(0)), inputs[i]), "bool scalar");
            assertEquals(withInteger[i], type(X.add(1), inputs[i]), "integer constant");
            assertEquals(withInteger[i], type(X.add(scalar(1)), inputs[i]), "integer scalar");
            assertEquals(withFloat[i], type(X.add(1.0), inputs[i]), "floating constant");
            assertEquals(withFloat[i], type(X.add(scalar(2).mul(3).exp()), inputs[i]), "floating scalar expression");
            assertEquals(withFloat[i], type(X.mul(scalar(1).div(2)), inputs[i]), "quotient of integer scalars");
        }
        assertEquals(FLOAT32, type(constant(1.0), FLOAT64));
        assertEquals(INT64, type(scalar(1).add(1), FLOAT64));
    }

    @Test
    void constantsWithDTypeBehaveLikeRankZeroTensors() {
        assertEquals(FLOAT32, type(X.add(constant(1.0, FLOAT64)), FLOAT32));
        assertEquals(FLOAT64, type(X.add(constant(1.0, FLOAT64)), INT32));
        assertEquals(FLOAT64, type(constant(1L, FLOAT64), INT32));
    }

    @Test
    void functionsOfIntegersAreFloat32AndPredicatesBool() {
        for (DType dtype : List.of(BOOL, UINT8, INT32, INT64)) {
            assertEquals(FLOAT32, type(X.exp(), dtype));
            assertEquals(FLOAT32, type(Exprs.gelu(X), dtype));
            assertEquals(FLOAT32, type(X.reciprocal(), dtype));
            assertEquals(dtype, type(X.floor(), dtype));
            assertEquals(BOOL, type(Exprs.isNan(X), dtype));
            assertEquals(BOOL, type(X.not(), dtype));
        }
        assertEquals(FLOAT16, type(X.exp(), FLOAT16));
        assertEquals(FLOAT64, type(X.atan2(X), FLOAT64));
        assertEquals(INT32, type(X.pow(2), INT32));
        assertEquals(FLOAT32, type(X.pow(0.5), INT32));
    }

    @Test
    void aConditionHasNoSayInTheDType() {
        assertEquals(FLOAT16, type(Y.select(X, X), FLOAT16, false, FLOAT64, false));
        Expr factor = Y.gt(0).select(constant(1.0), constant(0.1));
        assertEquals(FLOAT32, type(factor, FLOAT16, false, FLOAT64, false));
        assertEquals(FLOAT16, type(factor.mul(X), FLOAT16, false, FLOAT64, false));
        assertEquals(0.1, Evaluation.float64(factor.mul(X), 1, -1));
    }

    @Test
    void undefinedDTypesAreRefusedWithAFix() {
        for (Expr e : List.of(X.neg(), X.sub(X), X.pow(X), X.rem(X), X.shl(X))) {
            DTypeException refused = assertThrows(DTypeException.class, () -> type(e, BOOL), e.toString());
            assertTrue(refused.getMessage().contains("bool")
                    && refused.getMessage().contains("fix: "));
        }
        for (Expr e : List.of(X.and(X), X.bitNot(), X.shr(1))) {
            assertThrows(DTypeException.class, () -> type(e, FLOAT32), e.toString());
        }
    }

    @Test
    void forcedOutputsAreConverted() {
        Program program = Program.compile(
                List.of(X.add(1), X.gt(0)), List.of(INT32), new boolean[1], List.of(), List.of(FLOAT64, UINT8));
        assertEquals(List.of(FLOAT64, UINT8), program.outputDTypes());
        double[] real = new double[2];
        long[] integer = new long[2];
        program.run(
                0,
                2,
                new BlockSource[] {BlockSource.of(new long[] {41, -7})},
                new BlockSink[] {BlockSink.into(real), BlockSink.into(integer)},
                new double[0],
                new long[0]);
        assertArrayEquals(new double[] {42, -6}, real);
        assertArrayEquals(new long[] {1, 0}, integer);
    }

    @Test
    void variablesOutOfRangeAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> type(input(2), FLOAT32));
        assertThrows(IllegalArgumentException.class, () -> type(scalar(3), FLOAT32));
        assertThrows(IllegalArgumentException.class, () -> type(Expr.output(0), FLOAT32));
        assertThrows(IllegalArgumentException.class, () -> input(-1));
        assertThrows(IllegalArgumentException.class, () -> Apply.of(Opcode.ADD, X));
        assertThrows(IllegalArgumentException.class, () -> Apply.of(Opcode.LOAD));
    }
}
