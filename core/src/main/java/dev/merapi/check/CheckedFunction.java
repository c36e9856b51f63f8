// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Dual;
import dev.merapi.dispatch.Context;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A function of tensors as gradient checks see it: from arrays to one array of all floating outputs, and its
 * vector-Jacobian products. Every call is made with the same state of the random generator, in a scope of its own.
 */
final class CheckedFunction {
    private final Function<List<Tensor>, List<Tensor>> f;
    private final List<Tensor> inputs;
    private final Generator generator = Context.current().generator();
    private final Generator.Position state = generator.position();
    private final long[] outputSizes; // of the floating outputs
    private final boolean[] inGraph; // whether those require a gradient
    private final int count;
    private final List<String> names;
    private final boolean[] reached; // inputs that some backward gave a gradient

    CheckedFunction(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        this(
                f,
                inputs,
                IntStream.range(0, inputs.size()).mapToObj(i -> "input " + i).toList());
    }

    /** @param names what messages call the inputs */
    CheckedFunction(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs, List<String> names) {
        this.f = f;
        this.inputs = List.copyOf(inputs);
        this.names = names;
        this.reached = new boolean[inputs.size()];
        try (Scope scope = Scope.open()) {
            List<Tensor> outputs = floating(call(leaves()));
            this.outputSizes = outputs.stream().mapToLong(Tensor::numel).toArray();
            this.inGraph = new boolean[outputs.size()];
            for (int i = 0; i < inGraph.length; i++) {
                inGraph[i] = outputs.get(i).requiresGrad();
            }
            this.count = Math.toIntExact(Arrays.stream(outputSizes).sum());
        }
    }

    private List<Tensor> call(List<Tensor> arguments) {
        generator.moveTo(state);
        return f.apply(arguments);
    }

    /** Runs something; afterwards the generator is as it was when this was made. */
    void preservingRandomState(Runnable body) {
        try {
            body.run();
        } finally {
            generator.moveTo(state);
        }
    }

    private static List<Tensor> floating(List<Tensor> outputs) {
        return outputs.stream().filter(t -> t.dtype().isFloating()).toList();
    }

    static List<Tensor> differentiable(List<Tensor> outputs) {
        return outputs.stream().filter(Tensor::requiresGrad).toList();
    }

    /** The outputs that require a gradient, without memory. */
    List<Tensor> differentiableOutputs() {
        try (Scope scope = Scope.open()) {
            return differentiable(call(leaves())).stream().map(Tensor::meta).toList();
        }
    }

    /** A float64 tensor in the form of another. */
    static Tensor tensor(double[] values, Tensor like) {
        return Tensor.of(values, like.shape().toArray()).to(like.dtype()).to(like.device());
    }

    /** The inputs as leaves of a graph of their own, in their own layouts. */
    private List<Tensor> leaves() {
        List<Tensor> leaves = new ArrayList<>();
        for (Tensor t : inputs) {
            leaves.add(t.requiresGrad() ? t.detach().requiresGrad(true) : t);
        }
        return leaves;
    }

    /** The values of the differentiated inputs; empty arrays for the others. */
    double[][] values() {
        double[][] x = new double[inputs.size()][];
        for (int i = 0; i < x.length; i++) {
            x[i] = isDifferentiated(i) ? inputs.get(i).toDoubleArray() : new double[0];
        }
        return x;
    }

    boolean isDifferentiated(int input) {
        return inputs.get(input).requiresGrad();
    }

    int outputCount() {
        return count;
    }

    /** All floating outputs at other values of the differentiated inputs. */
    double[] evaluate(double[][] x) {
        try (Scope scope = Scope.open()) {
            List<Tensor> arguments = new ArrayList<>();
            for (int i = 0; i < x.length; i++) {
                Tensor t = inputs.get(i);
                arguments.add(isDifferentiated(i) ? tensor(x[i], t).requiresGrad(true) : t);
            }
            double[] all = new double[count];
            int at = 0;
            for (Tensor output : floating(call(arguments))) {
                double[] values = output.toDoubleArray();
                System.arraycopy(values, 0, all, at, values.length);
                at += values.length;
            }
            return all;
        }
    }

    /** The product of weights of all floating outputs with the Jacobian, per input; empty for those that have none. */
    double[][] vjp(double[] weights) {
        return vjp(weights, output -> true, Form.DENSE);
    }

    /**
     * The product of the Jacobian with a direction, for all floating outputs in one array, in forward mode.
     *
     * @param directions per input; empty for one that has no tangent
     */
    double[] jvp(double[][] directions) {
        try (Scope scope = Scope.open()) {
            List<Tensor> variables = new ArrayList<>();
            List<Tensor> tangents = new ArrayList<>();
            boolean[] moved = new boolean[inputs.size()];
            for (int i = 0; i < moved.length; i++) {
                Tensor t = inputs.get(i);
                moved[i] = isDifferentiated(i) && directions[i].length == t.numel();
                if (moved[i]) {
                    variables.add(t.detach());
                    tangents.add(tensor(directions[i], t));
                }
            }
            List<Dual> duals = Autograd.jvpMany(
                    in -> {
                        List<Tensor> arguments = new ArrayList<>();
                        int next = 0;
                        for (int i = 0; i < moved.length; i++) {
                            arguments.add(
                                    moved[i] ? in.get(next++) : inputs.get(i).detach());
                        }
                        return floating(call(arguments));
                    },
                    variables,
                    tangents);
            double[] all = new double[count];
            int at = 0;
            for (Dual dual : duals) {
                double[] values = dual.tangent().toDoubleArray();
                System.arraycopy(values, 0, all, at, values.length);
                at += values.length;
            }
            return all;
        }
    }

    /** How an incoming gradient lies in memory. */
    enum Form {
        DENSE,
        TRANSPOSED,
        STRIDED,
        OFFSET,
        EXPANDED
    }

    /** As {@link #vjp(double[])}, with a graph, for which shared formulas are used in place of backward kernels. */
    double[][] vjpWithGraph(double[] weights) {
        return vjp(weights, output -> true, Form.DENSE, Autograd.Graph.CREATE);
    }

    /** As {@link #vjp(double[])}, with gradients of a form and only for some outputs; the rest get none. */
    double[][] vjp(double[] weights, Function<Integer, Boolean> given, Form form) {
        return vjp(weights, given, form, Autograd.Graph.FREE);
    }

    private double[][] vjp(double[] weights, Function<Integer, Boolean> given, Form form, Autograd.Graph graph) {
        try (Scope scope = Scope.open()) {
            List<Tensor> leaves = leaves();
            List<Tensor> outputs = floating(call(leaves));
            List<Tensor> roots = new ArrayList<>();
            List<Tensor> gradients = new ArrayList<>();
            int at = 0;
            for (int k = 0; k < outputs.size(); k++) {
                Tensor y = outputs.get(k);
                int n = Math.toIntExact(y.numel());
                if (inGraph[k] && given.apply(k)) {
                    roots.add(y);
                    gradients.add(inForm(tensor(Arrays.copyOfRange(weights, at, at + n), y), form));
                }
                at += n;
            }
            double[][] result = new double[inputs.size()][];
            for (int i = 0; i < result.length; i++) {
                result[i] = new double
                        [isDifferentiated(i) ? Math.toIntExact(inputs.get(i).numel()) : 0];
            }
            if (roots.isEmpty()) {
                return result;
            }
            List<Tensor> wanted = leaves.stream().filter(Tensor::requiresGrad).toList();
            List<byte[]> before = gradients.stream().map(CheckedFunction::bits).toList();
            List<@Nullable Tensor> found = Autograd.grad(roots, wanted, gradients, graph, true);
            for (int k = 0; k < before.size(); k++) {
                if (!Arrays.equals(before.get(k), bits(gradients.get(k)))) {
                    throw new CheckFailedException("gradcheck: backward wrote into the gradient of output " + k
                            + " that it was given\n  fix: work on a copy.");
                }
            }
            for (int i = 0, k = 0; i < result.length; i++) {
                if (isDifferentiated(i)) {
                    Tensor g = found.get(k++);
                    reached[i] |= g != null;
                    result[i] = g == null ? result[i] : g.toDoubleArray();
                }
            }
            return result;
        }
    }

    private static byte[] bits(Tensor t) {
        java.nio.ByteBuffer bytes = java.nio.ByteBuffer.allocate(
                Math.toIntExact(t.numel() * t.dtype().byteSize()));
        t.copyTo(bytes);
        return bytes.array();
    }

    /** The same values, laid out otherwise. */
    private static Tensor inForm(Tensor dense, Form form) {
        long n = dense.numel();
        long[] shape = dense.shape().toArray();
        return switch (form) {
            case DENSE -> dense;
            case TRANSPOSED -> {
                Tensor other = Layouts.transposed(dense);
                yield other == null ? dense : other;
            }
            case STRIDED -> {
                // Two of each side by side: every second one, in the same shape.
                long[] twice = Arrays.copyOf(shape, shape.length + 1);
                twice[shape.length] = 2;
                long[] one = Arrays.copyOf(shape, shape.length + 1);
                one[shape.length] = 1;
                yield dense.view(one).expand(twice).copy().select(shape.length, 1);
            }
            case OFFSET -> {
                Tensor longer = Tensor.zeros(Shape.of(n + 3), dense.dtype(), dense.device());
                Tensor part = longer.slice(0, 3, n + 3);
                part.copy_(dense.view(n));
                yield part.view(shape);
            }
            case EXPANDED ->
                n == 0
                        ? dense
                        : dense.view(n).slice(0, 0, 1).view(ones(shape.length)).expand(shape);
        };
    }

    private static long[] ones(int rank) {
        long[] sizes = new long[rank];
        Arrays.fill(sizes, 1);
        return sizes;
    }

    /** Floating outputs that are part of a graph. */
    int outputs() {
        return outputSizes.length;
    }

    /** The elements of one output within all. */
    int start(int output) {
        int at = 0;
        for (int k = 0; k < output; k++) {
            at += (int) outputSizes[k];
        }
        return at;
    }

    int size(int output) {
        return (int) outputSizes[output];
    }

    /** Whether a backward was made and none gave this input a gradient. */
    boolean isForgotten(int input) {
        return isDifferentiated(input) && !reached[input];
    }

    String inputName(int input) {
        return names.get(input);
    }

    String inputName(int input, int element) {
        return names.get(input) + (element < 0 ? " along a random direction" : "[" + element + "]");
    }

    String outputName(int element) {
        if (element < 0) {
            return "a random combination of outputs";
        }
        int rest = element;
        for (int k = 0; k < outputSizes.length; k++) {
            if (rest < outputSizes[k]) {
                return "output " + k + "[" + rest + "]";
            }
            rest -= (int) outputSizes[k];
        }
        return "output";
    }
}
