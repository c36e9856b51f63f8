// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a program does besides calling ops: modes, scopes, gradients, closing. */
enum Action implements Callee {
    SCOPE("Scope.open()") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Scope.open());
            return List.of();
        }
    },
    NO_GRAD("Autograd.noGrad()") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Autograd.noGrad());
            return List.of();
        }
    },
    ENABLE_GRAD("Autograd.enableGrad()") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Autograd.enableGrad());
            return List.of();
        }
    },
    INFERENCE("Autograd.inference()") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Autograd.inference());
            return List.of();
        }
    },
    ANOMALY("Autograd.anomaly()") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Autograd.anomaly());
            return List.of();
        }
    },
    AUTOCAST("Autocast.on(DType.BFLOAT16)") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(Autocast.on(DType.BFLOAT16));
            return List.of();
        }
    },
    COPYING_HOOKS("SavedTensorHooks.install(COPYING)") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.open(SavedTensorHooks.install(Hooks.COPYING));
            return List.of();
        }
    },
    /** Ends the mode or scope that was opened last. */
    END("") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.end();
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return "open.pop().close()";
        }
    },
    CLOSE("close") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            tensor(args[0]).close();
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".close()";
        }
    },
    /** Takes a tensor out of its scope; the run closes it at its end. */
    LEAVE_SCOPE("leaveScope") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            run.escaped(tensor(args[0]).leaveScope());
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".leaveScope()";
        }
    },
    REQUIRES_GRAD("requiresGrad") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Tensor t = tensor(args[0]);
            t.requiresGrad(Boolean.TRUE.equals(args[1]));
            run.mayHaveGradient(t);
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".requiresGrad(" + args.get(1) + ")";
        }
    },
    DETACH("detach") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            return List.of(tensor(args[0]).detach());
        }

        @Override
        public boolean isStatement() {
            return false;
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".detach()";
        }
    },
    /** Of the sum: {@code (output, graph)}. */
    BACKWARD_OF_SUM("backward") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Autograd.backward(tensor(args[0]).sum(), null, graph(args[1]));
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return "Autograd.backward(" + args.get(0) + ".sum(), null, " + args.get(1) + ")";
        }
    },
    /** {@code (output, gradient, graph)}. */
    BACKWARD("backward") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Autograd.backward(tensor(args[0]), (Tensor) args[1], graph(args[2]));
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return "Autograd.backward(" + String.join(", ", args) + ")";
        }
    },
    /** {@code (outputs, inputs, gradients, graph)}; what an output does not depend on is left out. */
    GRAD("grad") {
        @Override
        @SuppressWarnings("unchecked")
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            List<Tensor> made = new ArrayList<>(Autograd.grad(
                    (List<Tensor>) java.util.Objects.requireNonNull(args[0]),
                    (List<Tensor>) java.util.Objects.requireNonNull(args[1]),
                    (List<Tensor>) args[2],
                    graph(args[3]),
                    true));
            made.removeIf(java.util.Objects::isNull);
            return made;
        }

        @Override
        public boolean isStatement() {
            return false;
        }

        @Override
        public String part(int i) {
            return ".get(" + i + ")";
        }

        @Override
        public String print(List<String> args) {
            return "Autograd.grad(" + String.join(", ", args) + ", true)";
        }
    },
    /** The accumulated gradient itself. */
    READ_GRAD("grad") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Tensor g = tensor(args[0]).grad();
            return g == null ? List.of() : List.of(g);
        }

        @Override
        public boolean isStatement() {
            return false;
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".grad()";
        }
    },
    DROP_GRAD("setGrad") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            tensor(args[0]).setGrad(null);
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return args.get(0) + ".setGrad(null)";
        }
    },
    RETAIN_GRAD("retainGrad") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Autograd.retainGrad(tensor(args[0]));
            run.mayHaveGradient(tensor(args[0]));
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return "Autograd.retainGrad(" + args.get(0) + ")";
        }
    },
    DOUBLING_HOOK("hook") {
        @Override
        public List<Tensor> call(Run run, @Nullable Object[] args) {
            Autograd.hook(tensor(args[0]), g -> g.mul(2));
            return List.of();
        }

        @Override
        public String print(List<String> args) {
            return "Autograd.hook(" + args.get(0) + ", g -> g.mul(2))";
        }
    };

    private final String opening;

    Action(String opening) {
        this.opening = opening;
    }

    boolean opens() {
        return compareTo(END) < 0;
    }

    private static Tensor tensor(@Nullable Object arg) {
        return (Tensor) java.util.Objects.requireNonNull(arg);
    }

    private static Autograd.Graph graph(@Nullable Object arg) {
        return (Autograd.Graph) java.util.Objects.requireNonNull(arg);
    }

    @Override
    public boolean isStatement() {
        return true;
    }

    @Override
    public String print(List<String> args) {
        return "open.push(" + opening + ")";
    }
}
