// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.Message;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.PieceKey.BackwardKernelKey;
import dev.merapi.op.PieceKey.DisabledKey;
import dev.merapi.op.PieceKey.KernelKey;
import java.util.List;
import java.util.Map;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/**
 * Which pieces of an op go together. Each that is declared has an effect on the op as it is, or is refused: what no other
 * piece could ever give sense to when it is declared, and what waits for another one when the op is registered or first
 * called.
 */
final class Pieces {
    /**
     * A piece, or all those of a kind, under the name of the method that declares it. No record: the first of their generated
     * comparisons takes milliseconds, and every program would wait for it.
     */
    private static final class Part {
        private final String name;
        private final @Nullable PieceKey<?> key; // if it is one piece, which is then found by it
        private final BiPredicate<PieceKey<?>, Object> is;

        private Part(String name, @Nullable PieceKey<?> key, BiPredicate<PieceKey<?>, Object> is) {
            this.name = name;
            this.key = key;
            this.is = is;
        }

        private Part(String name, BiPredicate<PieceKey<?>, Object> is) {
            this(name, null, is);
        }

        static Part of(PieceKey<?> key) {
            return new Part(key.text(), key, (k, value) -> k == key);
        }
    }

    private static final Part SHAPE = Part.of(PieceKey.SHAPE);
    private static final Part MUTATES = Part.of(PieceKey.MUTATES);
    private static final Part RETURNS_MUTATED = Part.of(PieceKey.RETURNS_MUTATED);
    private static final Part REFERENCE = Part.of(PieceKey.REFERENCE);
    private static final Part COMPOSE = Part.of(PieceKey.COMPOSE);
    private static final Part JVP = Part.of(PieceKey.JVP);
    private static final Part KERNEL_TYPE = Part.of(PieceKey.KERNEL_TYPE);
    private static final Part DEVICE = Part.of(PieceKey.DEVICE);
    private static final Part NONDETERMINISTIC = Part.of(PieceKey.NONDETERMINISTIC);
    private static final Part INTERNAL = Part.of(PieceKey.INTERNAL);
    private static final Part CODE = Part.of(PieceKey.CODE);
    private static final Part VIEW = Part.of(PieceKey.VIEW);
    private static final Part SAVE = Part.of(PieceKey.SAVE);
    private static final Part BACKWARD = Part.of(PieceKey.BACKWARD);
    private static final Part NON_DIFFERENTIABLE = Part.of(PieceKey.NON_DIFFERENTIABLE);
    private static final Part DIFFERENTIABLE_OUTPUTS = Part.of(PieceKey.DIFFERENTIABLE_OUTPUTS);
    private static final Part STRIDES_OK = Part.of(PieceKey.STRIDES_OK);
    private static final Part AUTOCAST =
            new Part("autocast", (k, value) -> k == PieceKey.AUTOCAST && value != CastPolicy.NONE);
    private static final Part KERNEL = new Part("kernel", (k, value) -> k instanceof KernelKey);
    private static final Part FILLING = new Part(
            "filling kernel",
            (k, value) -> value instanceof Kernel<?, ?> || k instanceof KernelKey && value instanceof DeviceCode);
    private static final Part RETURNING =
            new Part("returning kernel", (k, value) -> value instanceof Kernel.Returning<?, ?>);
    private static final Part BACKWARD_KERNEL =
            new Part("backward kernel", (k, value) -> k instanceof BackwardKernelKey);
    private static final Part DISABLED = new Part("disabled", (k, value) -> k instanceof DisabledKey);

    /** What a view, which only sees memory in another way, has no use for. */
    private static final Map<Part, String> NOT_OF_VIEWS = Map.ofEntries(
            Map.entry(SHAPE, "its layout is its shape rule"),
            Map.entry(MUTATES, "it writes nothing"),
            Map.entry(RETURNS_MUTATED, "it returns what it sees"),
            Map.entry(KERNEL, "it computes nothing, so it has no kernels"),
            Map.entry(REFERENCE, "it computes nothing, so it has no kernels"),
            Map.entry(COMPOSE, "it computes nothing that could be written with other ops"),
            Map.entry(KERNEL_TYPE, "it computes nothing, so it has no kernels"),
            Map.entry(DEVICE, "it is where its argument is"),
            Map.entry(NONDETERMINISTIC, "it computes nothing"),
            Map.entry(INTERNAL, "its results are what the caller asked for"),
            Map.entry(AUTOCAST, "a converted argument would be a copy"),
            Map.entry(CODE, "it computes nothing, so it has no kernels"),
            Map.entry(JVP, "it is linear in what it views"),
            Map.entry(DISABLED, "it has no kernels"));

    private static final List<Part> OF_BACKWARD = List.of(SAVE, BACKWARD, BACKWARD_KERNEL);

    private final Definition<?, ?> op;

    private Pieces(Definition<?, ?> op) {
        this.op = op;
    }

    /** @throws RegistrationException for pieces that contradict each other, whatever may come later */
    static void refuseContradictions(Definition<?, ?> op) {
        new Pieces(op).contradictions();
    }

    /** @throws RegistrationException for pieces that need others which are not there: before the op is called */
    static void requireWhole(Definition<?, ?> op) {
        RegistrationException missing = new Pieces(op).waiting();
        if (missing != null) {
            throw missing;
        }
        CudaNames.require(op, true);
    }

    // ---------------------------------------------------------------- at once

    private void contradictions() {
        if (op.isView()) {
            NOT_OF_VIEWS.forEach((piece, why) -> apart(VIEW, piece, "a view has no such piece: " + why));
        }
        for (Part backward : OF_BACKWARD) {
            apart(NON_DIFFERENTIABLE, backward, "no gradient flows through a non-differentiable op");
        }
        apart(NON_DIFFERENTIABLE, JVP, "no tangent passes a non-differentiable op");
        apart(MUTATES, JVP, "forward mode refuses ops that write in place");
        apart(NON_DIFFERENTIABLE, DIFFERENTIABLE_OUTPUTS, "the one speaks for all outputs already");
        apart(MUTATES, AUTOCAST, "the op writes its arguments, and a converted one would be a copy");
        apart(SHAPE, RETURNING, "with a shape rule, register kernels that fill the outputs");
        if (!op.result().isNone()) {
            apart(RETURNING, FILLING, "a result is made by kernels or reference, or filled by them");
        }
        if (!op.result().hasTensors()) {
            for (Part piece : List.of(DIFFERENTIABLE_OUTPUTS, INTERNAL, RETURNS_MUTATED, JVP)) {
                without(piece, "the result holds no tensors, " + op.result());
            }
            for (Part piece : OF_BACKWARD) {
                without(piece, "a result without tensors has nothing to differentiate, " + op.result());
            }
        }
        if (op.schema().tensorNames().isEmpty()) {
            for (Part piece : OF_BACKWARD) {
                without(piece, "there are no tensor arguments to give a gradient to, " + text());
            }
            without(AUTOCAST, "there are no tensor arguments to convert, " + text());
        }
        if (has(DEVICE) && op.schema().hasRequiredTensor()) {
            without(DEVICE, "the op runs where its tensor arguments are, " + text());
        }
        outputs();
        CudaNames.require(op, false);
    }

    private void outputs() {
        apart(INTERNAL, RETURNS_MUTATED, "an internal output is closed, and this one is the caller's own tensor");
        boolean[] declared = op.differentiableOutputs();
        if (declared == null) {
            return;
        }
        List<String> names = op.result().names();
        if (declared.length != names.size()) {
            throw new RegistrationException(op.name() + ": differentiableOutputs takes one value for each of the "
                    + names.size() + " tensor outputs " + names + " (a list counts once), but got " + declared.length);
        }
        boolean any = false;
        for (int i = 0; i < declared.length; i++) {
            any |= declared[i];
            if (declared[i] && op.internal().contains(names.get(i))) {
                throw together(DIFFERENTIABLE_OUTPUTS, INTERNAL, "nobody but saveForBackward sees " + names.get(i));
            }
            if (!declared[i]) {
                apart(
                        DIFFERENTIABLE_OUTPUTS,
                        RETURNS_MUTATED,
                        "what is written takes the history of the op; declare it nonDifferentiable() if it has none");
            }
        }
        for (Part backward : OF_BACKWARD) {
            if (!any) {
                apart(DIFFERENTIABLE_OUTPUTS, backward, "no output is declared differentiable");
            }
        }
    }

    // ---------------------------------------------------------------- at the first call

    private @Nullable RegistrationException waiting() {
        if (has(RETURNS_MUTATED) && !has(MUTATES)) {
            return missing(RETURNS_MUTATED, MUTATES, "it returns a mutated argument, but declares none");
        }
        boolean backward = has(BACKWARD) || has(BACKWARD_KERNEL);
        if (has(MUTATES) && backward && !has(RETURNS_MUTATED)) {
            return missing(
                    MUTATES,
                    RETURNS_MUTATED,
                    "it has a backward and writes " + op.mutates()
                            + ", so it must return the written tensors in order");
        }
        if (has(FILLING) && !has(SHAPE) && !op.result().isNone()) {
            return missing(FILLING, SHAPE, "its kernel or reference fills outputs, but there is no shape rule");
        }
        boolean expands = has(COMPOSE) && !has(SHAPE) && op.registeredKernels().isEmpty();
        for (Part piece : List.of(KERNEL_TYPE, DEVICE, CODE, DISABLED)) {
            if (expands && has(piece)) {
                return together(piece, COMPOSE, "the op expands into others, and has no kernels to choose");
            }
        }
        if (has(STRIDES_OK) && !has(BACKWARD_KERNEL) && (expands || op.isView())) {
            return together(STRIDES_OK, expands ? COMPOSE : VIEW, "the op has no kernels that could take strides");
        }
        return null;
    }

    // ---------------------------------------------------------------- words

    private boolean has(Part part) {
        return site(part) != null;
    }

    private @Nullable Site site(Part part) {
        return part.key != null ? op.site(part.key) : op.site(part.is);
    }

    private String text() {
        return op.name() + op.schema().argumentText();
    }

    private void apart(Part one, Part other, String why) {
        if (has(one) && has(other)) {
            throw together(one, other, why);
        }
    }

    private void without(Part piece, String why) {
        Site site = site(piece);
        if (site != null) {
            throw new RegistrationException(Message.of(op.name() + ": " + piece.name + " has no effect: " + why)
                    .fact(piece.name, site)
                    .fix("leave it out."));
        }
    }

    private RegistrationException together(Part one, Part other, String why) {
        return new RegistrationException(
                Message.of(op.name() + ": " + one.name + " and " + other.name + " do not go together: " + why)
                        .fact(one.name, site(one))
                        .fact(other.name, site(other))
                        .fix("leave out one of the two."));
    }

    private RegistrationException missing(Part there, Part wanted, String why) {
        return new RegistrationException(Message.of(op.name() + ": " + why)
                .fact(there.name, site(there))
                .fix("declare " + wanted.name + " too."));
    }
}
