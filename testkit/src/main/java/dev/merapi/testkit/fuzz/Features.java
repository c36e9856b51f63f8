// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.tensor.Tensor;
import java.util.BitSet;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** How often programs did what is easily never done: a generator that stops making something stops finding its faults. */
final class Features {
    /** What is counted; only steps that were not refused, where nothing else is said. */
    enum Feature {
        VIEWS,
        WRITES,
        /** To memory that another tensor of the program sees. */
        WRITES_SEEN_BY_OTHERS,
        SCOPES,
        LEFT_SCOPES,
        CLOSES,
        /** Refused because a tensor is closed. */
        USES_OF_CLOSED,
        MODES,
        HOOKS,
        SAVED_TENSOR_HOOKS,
        CHECKPOINTS,
        THREADS,
        GRADIENTS,
        /** Of what was made from gradients. */
        GRADIENTS_OF_GRADIENTS,
        /** Held against differences. */
        SLOPES,
        SLOPES_OF_GRADIENTS,
        /** Not judged, for a result jumps nearby. */
        JUMPS
    }

    private final Map<Feature, Long> counts = new EnumMap<>(Feature.class);
    private final BitSet ofGradients = new BitSet();

    void count(Feature feature) {
        counts.merge(feature, 1L, Long::sum);
    }

    long of(Feature feature) {
        return counts.getOrDefault(feature, 0L);
    }

    void beginProgram() {
        ofGradients.clear();
    }

    /** @param made what the step gave; null if it was refused */
    void step(Step step, Run run, @Nullable List<Tensor> made, @Nullable Throwable error) {
        if (made == null) {
            if (error instanceof ClosedTensorException) {
                count(Feature.USES_OF_CLOSED);
            }
            return;
        }
        if (step.callee() instanceof Action action) {
            action(action);
            boolean gradient = action == Action.GRAD || action == Action.BACKWARD || action == Action.BACKWARD_OF_SUM;
            if (gradient) {
                count(Feature.GRADIENTS);
                if (mentions(step.args().get(0))) {
                    count(Feature.GRADIENTS_OF_GRADIENTS);
                }
            }
            if (gradient && step.args().contains(Autograd.Graph.CREATE)) {
                mark(step, made);
            }
        } else if (step.uses().stream().anyMatch(r -> ofGradients.get(r.number()))) {
            mark(step, made);
        }
        if (step.callee() instanceof Checkpointed) {
            count(Feature.CHECKPOINTS);
        } else if (step.callee() instanceof Together) {
            count(Feature.THREADS);
        } else if (writes(step.callee())) {
            count(Feature.WRITES);
            if (step.args().get(0) instanceof Ref target && run.sharesMemory(target)) {
                count(Feature.WRITES_SEEN_BY_OTHERS);
            }
        }
    }

    private static boolean writes(Callee callee) {
        return callee instanceof InPlaceCallee || callee instanceof MethodCallee m && m.writes();
    }

    private void action(Action action) {
        switch (action) {
            case SCOPE -> count(Feature.SCOPES);
            case LEAVE_SCOPE -> count(Feature.LEFT_SCOPES);
            case CLOSE -> count(Feature.CLOSES);
            case COPYING_HOOKS -> count(Feature.SAVED_TENSOR_HOOKS);
            case DOUBLING_HOOK -> count(Feature.HOOKS);
            case NO_GRAD, ENABLE_GRAD, INFERENCE, ANOMALY, AUTOCAST -> count(Feature.MODES);
            default -> {}
        }
    }

    private boolean mentions(@Nullable Object arg) {
        return arg instanceof Ref r && ofGradients.get(r.number())
                || arg instanceof List<?> list && list.stream().anyMatch(this::mentions);
    }

    private void mark(Step step, List<Tensor> made) {
        for (int i = 0; i < made.size(); i++) {
            if (made.get(i).requiresGrad()) {
                ofGradients.set(step.first() + i);
            }
        }
    }

    @Override
    public String toString() {
        return java.util.Arrays.stream(Feature.values())
                .map(f -> of(f) + " "
                        + f.name().toLowerCase(java.util.Locale.ROOT).replace('_', ' '))
                .collect(Collectors.joining(", "));
    }
}
