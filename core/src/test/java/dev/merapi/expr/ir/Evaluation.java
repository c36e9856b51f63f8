// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** Evaluates expressions at single points through {@link Program#run}. */
final class Evaluation {
    private Evaluation() {}

    static double float64(Expr e, double... at) {
        return floating(e, DType.FLOAT64, at);
    }

    static double floating(Expr e, DType dtype, double... at) {
        Program program = Program.compile(
                List.of(e), Collections.nCopies(at.length, dtype), new boolean[at.length], List.of(), null);
        BlockSource[] inputs = Arrays.stream(at)
                .mapToObj(v -> BlockSource.of(new double[] {v}))
                .toArray(BlockSource[]::new);
        return run(program, inputs);
    }

    /** The result of a program with one output, of whatever dtype, as a double. */
    static double run(Program program, BlockSource... inputs) {
        double[] real = new double[1];
        long[] integer = new long[1];
        boolean floating = program.outputDTypes().get(0).isFloating();
        BlockSink sink = floating ? BlockSink.into(real) : BlockSink.into(integer);
        program.run(0, 1, inputs, new BlockSink[] {sink}, new double[0], new long[0]);
        return floating ? real[0] : integer[0];
    }

    static long integer(Expr e, DType dtype, long... at) {
        Program program = Program.compile(List.of(e), Collections.nCopies(at.length, dtype));
        BlockSource[] inputs =
                Arrays.stream(at).mapToObj(v -> BlockSource.of(new long[] {v})).toArray(BlockSource[]::new);
        long[] result = new long[1];
        program.run(0, 1, inputs, new BlockSink[] {BlockSink.into(result)}, new double[0], new long[0]);
        return result[0];
    }
}
