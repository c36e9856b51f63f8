// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/** What ops do behind the values: to other memory, to results, between calls and between threads. */
class PlantedWriteFaultsTest extends Planted {
    private static Kernel<X, Tensor> squareAnd(java.util.function.Consumer<X> also) {
        return (a, out) -> {
            SQUARE.run(a, out);
            if (out.numel() > 0) {
                also.accept(a);
            }
        };
    }

    // ---------------------------------------------------------------- arguments

    @Test
    void anUndeclaredWrite() {
        Kernel<X, Tensor> lastBit = squareAnd(a ->
                Elements.of(a.x()).setDouble(0, Math.nextUp(Elements.of(a.x()).getDouble(0))));
        found(
                squareOf(lastBit),
                x(),
                "writes and aliases",
                "wrote to argument 'x', float64[2, 3]",
                "not declared as mutated");
        Op<X, Tensor> composed = Op.define("planted::square", X.class, Tensor.class)
                .compose(a -> {
                    Tensor result = a.x().mul(a.x());
                    if (!a.x().isMeta() && a.x().numel() > 0) {
                        Elements.of(a.x()).setDouble(0, 7);
                    }
                    return result;
                });
        found(composed, x(), "writes and aliases", "it wrote to argument 'x', float64[2, 3]");
    }

    @Test
    void aWriteBesideAnInput() {
        Kernel<X, Tensor> beside = squareAnd(a -> {
            int behind = Elements.of(a.x()).byteOffset()
                    + (int) a.x().numel() * a.x().dtype().byteSize();
            if (behind < TENSORS.storage(a.x()).byteSize()) {
                Elements.of(a.x()).buffer().put(behind, (byte) 1);
            }
        });
        found(squareOf(beside), x(), "writes and aliases", "wrote to argument 'x'", "or beside it");
    }

    @Test
    void declaredWritesThatDoNotHappen() {
        Op<XY, Void> one = Op.define("planted::both", XY.class, Result.none())
                .mutates("x", "y")
                .kernel(DeviceType.CPU, (a, out) -> each(a.x(), a.x(), v -> v + 1))
                .nonDifferentiable();
        found(one, xy(), "writes and aliases", "declares that it writes y, but nothing changed there");
        found(
                voidOp("planted::idle", (a, out) -> {}).nonDifferentiable(),
                new X(values(3)),
                "writes and aliases",
                "declares that it writes x");
    }

    // ---------------------------------------------------------------- results

    @Test
    void resultsThatAreNotWritten() {
        Kernel<X, Tensor> part = (a, out) -> {
            for (long i = 0; i < out.numel() - 1; i++) {
                Elements.of(out).setDouble(i, 1);
            }
        };
        found(squareOf(part), x(), "writes and aliases", "element 5 of 'output'", "is not written by its kernel");
        Kernel<X, Tensor> adds = (a, out) -> {
            for (long i = 0; i < out.numel(); i++) {
                Elements.of(out)
                        .setDouble(
                                i,
                                Elements.of(out).getDouble(i)
                                        + Elements.of(a.x()).getDouble(i));
            }
        };
        found(squareOf(adds), x(), "writes and aliases", "element 0 of 'output'", "differs between two runs");
    }

    @Test
    void resultsThatShareMemory() {
        Op<X, Tensor> input = Op.define("planted::same", X.class, Tensor.class)
                .returningKernel(DeviceType.CPU, X::x)
                .nonDifferentiable();
        found(input, x(), "writes and aliases", "shares memory with an input");
        Op<X, List<Tensor>> each = Op.define("planted::twins", X.class, Result.tensors())
                .returningKernel(DeviceType.CPU, a -> {
                    Tensor one = a.x().detach().copy();
                    return List.of(one, one.view(one.numel()));
                })
                .nonDifferentiable();
        found(each, x(), "writes and aliases", "its outputs 'output[0]' and 'output[1]'", "share memory");
    }

    // ---------------------------------------------------------------- backward

    @Test
    void writesInBackward() {
        found(
                squareBackward((c, x, g) -> Grads.of("x", g.isContiguous() ? g.mul_(x.mul(2)) : g.mul(x.mul(2)))),
                x(),
                "backward under suspicion",
                "wrote into the gradient that it was given");
        Op<X, Tensor> saved = squareBackward((c, x, g) -> {
            Tensor gradient = x.mul(2).mul(g);
            if (!x.isMeta() && x.numel() > 0) {
                Elements.of(x).setDouble(0, 1e-9 + Elements.of(x).getDouble(0));
            }
            return Grads.of("x", gradient);
        });
        found(saved, x(), "backward under suspicion", "wrote into a tensor that it saved, float64[2, 3]");
    }

    // ---------------------------------------------------------------- between calls

    @Test
    void whatDiffersFromRunToRun() {
        int[] calls = {0};
        found(
                squareOf((a, out) -> each(a.x(), out, v -> v * v + calls[0]++)),
                x(),
                "determinism",
                "a second run: output 0 differs in element 0");
        found(
                squareBackward((c, x, g) ->
                        Grads.of("x", x.mul(2 + 1e-13 * calls[0]++).mul(g))),
                x(),
                "gradients",
                "a second backward gives another gradient");
    }

    @Test
    void whatIsKeptBetweenCalls() {
        double[] largest = {0};
        Kernel<X, Tensor> running = (a, out) -> {
            // Once so many other values were seen, the result is another.
            double sum = a.x().sum().item();
            boolean grew = largest[0] != 0 && sum != largest[0];
            largest[0] = sum;
            each(a.x(), out, v -> grew ? v * v + 1e-3 : v * v);
        };
        found(squareOf(running), x(), "determinism", "a run after one on other values");
    }

    /** Dropout of its own making, declared nondeterministic: a checkpoint would draw another mask. */
    @Test
    void randomNumbersFromElsewhere() {
        Random random = new Random(3);
        Op<X, Tensor> op = squareOf((a, out) -> each(a.x(), out, v -> random.nextBoolean() ? v : 0))
                .nondeterministic();
        found(
                op,
                x(),
                "determinism",
                "may differ by rounding, not by random numbers from elsewhere",
                "draw from Generator");
    }

    @Test
    void aBufferForAllThreads() {
        double[] buffer = new double[4096];
        Kernel<X, Tensor> shared = (a, out) -> {
            for (int i = 0; i < out.numel(); i++) {
                buffer[i % 4096] = Elements.of(a.x()).getDouble(i);
            }
            LockSupport.parkNanos(50_000); // or one call is over before another begins, on a busy machine
            for (int i = 0; i < out.numel(); i++) {
                double v = buffer[i % 4096];
                Elements.of(out).setDouble(i, v * v);
            }
        };
        found(squareOf(shared), new X(leaf(4096)), "threads", "3 threads at once", "while other threads call it");
    }

    @Test
    void memoryThatIsKept() {
        List<Tensor> kept = new ArrayList<>();
        found(
                squareOf(squareAnd(
                        a -> kept.add(Tensor.zeros(DType.FLOAT64, 5000).leaveScope()))),
                x(),
                "no leak",
                "bytes behind");
        found(squareOf(squareAnd(a -> kept.add(a.x().detach().leaveScope()))), x(), "no leak", "bytes behind");
        found(
                squareBackward((c, x, g) -> {
                    kept.add(Tensor.zeros(DType.FLOAT64, 5000).leaveScope());
                    return Grads.of("x", x.mul(2).mul(g));
                }),
                x(),
                "no leak",
                "bytes behind");
        kept.forEach(Tensor::close);
    }
}
