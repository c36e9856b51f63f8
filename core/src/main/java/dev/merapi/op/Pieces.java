// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.Message;
import dev.merapi.error.RegistrationException;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Which pieces of an op go together. Each that is declared has an effect on the op as it is, or is refused: what no other
 * piece could ever give sense to when it is declared, and what waits for another one when the op is registered or first
 * called.
 */
final class Pieces {
    /** What a view, which only sees memory in another way, has no use for. */
    private static final Map<String, String> NOT_OF_VIEWS = Map.ofEntries(
            Map.entry("shape", "its layout is its shape rule"),
            Map.entry("mutates", "it writes nothing"),
            Map.entry("returnsMutated", "it returns what it sees"),
            Map.entry("kernel", "it computes nothing, so it has no kernels"),
            Map.entry("reference", "it computes nothing, so it has no kernels"),
            Map.entry("compose", "it computes nothing that could be written with other ops"),
            Map.entry("kernelType", "it computes nothing, so it has no kernels"),
            Map.entry("device", "it is where its argument is"),
            Map.entry("nondeterministic", "it computes nothing"),
            Map.entry("internal", "its results are what the caller asked for"),
            Map.entry("autocast", "a converted argument would be a copy"),
            Map.entry("code", "it computes nothing, so it has no kernels"),
            Map.entry("jvp", "it is linear in what it views"),
            Map.entry("disabled", "it has no kernels"));

    private static final List<String> OF_BACKWARD = List.of("saveForBackward", "backward", "backward kernel");

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
        NOT_OF_VIEWS.forEach((piece, why) -> apart("view", piece, "a view has no such piece: " + why));
        for (String backward : OF_BACKWARD) {
            apart("nonDifferentiable", backward, "no gradient flows through a non-differentiable op");
        }
        apart("nonDifferentiable", "jvp", "no tangent passes a non-differentiable op");
        apart("mutates", "jvp", "forward mode refuses ops that write in place");
        apart("nonDifferentiable", "differentiableOutputs", "the one speaks for all outputs already");
        apart("mutates", "autocast", "the op writes its arguments, and a converted one would be a copy");
        apart("shape", "returning kernel", "with a shape rule, register kernels that fill the outputs");
        if (!op.result().isNone()) {
            apart("returning kernel", "filling kernel", "a result is made by kernels or reference, or filled by them");
        }
        if (!op.result().hasTensors()) {
            for (String piece : List.of("differentiableOutputs", "internal", "returnsMutated", "jvp")) {
                without(piece, "the result holds no tensors, " + op.result());
            }
            for (String piece : OF_BACKWARD) {
                without(piece, "a result without tensors has nothing to differentiate, " + op.result());
            }
        }
        if (op.schema().tensorNames().isEmpty()) {
            for (String piece : OF_BACKWARD) {
                without(piece, "there are no tensor arguments to give a gradient to, " + text());
            }
            without("autocast", "there are no tensor arguments to convert, " + text());
        }
        if (op.schema().hasRequiredTensor()) {
            without("device", "the op runs where its tensor arguments are, " + text());
        }
        outputs();
        CudaNames.require(op, false);
    }

    private void outputs() {
        apart("internal", "returnsMutated", "an internal output is closed, and this one is the caller's own tensor");
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
                throw together("differentiableOutputs", "internal", "nobody but saveForBackward sees " + names.get(i));
            }
            if (!declared[i]) {
                apart(
                        "differentiableOutputs",
                        "returnsMutated",
                        "what is written takes the history of the op; declare it nonDifferentiable() if it has none");
            }
        }
        for (String backward : OF_BACKWARD) {
            if (!any) {
                apart("differentiableOutputs", backward, "no output is declared differentiable");
            }
        }
    }

    // ---------------------------------------------------------------- at the first call

    private @Nullable RegistrationException waiting() {
        if (has("returnsMutated") && !has("mutates")) {
            return missing("returnsMutated", "mutates", "it returns a mutated argument, but declares none");
        }
        boolean backward = has("backward") || has("backward kernel");
        if (has("mutates") && backward && !has("returnsMutated")) {
            return missing(
                    "mutates",
                    "returnsMutated",
                    "it has a backward and writes " + op.mutates()
                            + ", so it must return the written tensors in order");
        }
        if (has("filling kernel") && !has("shape") && !op.result().isNone()) {
            return missing(
                    "filling kernel", "shape", "its kernel or reference fills outputs, but there is no shape rule");
        }
        boolean expands =
                has("compose") && !has("shape") && op.registeredKernels().isEmpty();
        for (String piece : List.of("kernelType", "device", "code", "disabled")) {
            if (expands && has(piece)) {
                return together(piece, "compose", "the op expands into others, and has no kernels to choose");
            }
        }
        if (has("stridesOk") && !has("backward kernel") && (expands || op.isView())) {
            return together("stridesOk", expands ? "compose" : "view", "the op has no kernels that could take strides");
        }
        return null;
    }

    // ---------------------------------------------------------------- words

    private boolean has(String piece) {
        return site(piece) != null;
    }

    private String text() {
        return op.name() + op.schema().argumentText();
    }

    /** Where a piece was registered; the name is that of the method that declares it. */
    private @Nullable Site site(String piece) {
        return switch (piece) {
            case "saveForBackward" -> op.site("save");
            case "differentiableOutputs" -> op.site("differentiable");
            case "autocast" -> op.castPolicy() == CastPolicy.NONE ? null : op.site(piece);
            case "kernel" -> op.siteOf("kernel/", null);
            case "filling kernel" -> {
                Site code = op.siteOf("kernel/", DeviceCode.class);
                yield code != null ? code : op.siteOf("", Kernel.class);
            }
            case "returning kernel" -> op.siteOf("", Kernel.Returning.class);
            case "backward kernel" -> op.siteOf("backwardKernel/", null);
            case "disabled" -> op.siteOf("disabled/", null);
            default -> op.site(piece);
        };
    }

    private void apart(String one, String other, String why) {
        if (has(one) && has(other)) {
            throw together(one, other, why);
        }
    }

    private void without(String piece, String why) {
        Site site = site(piece);
        if (site != null) {
            throw new RegistrationException(Message.of(op.name() + ": " + piece + " has no effect: " + why)
                    .fact(piece, site)
                    .fix("leave it out."));
        }
    }

    private RegistrationException together(String one, String other, String why) {
        return new RegistrationException(
                Message.of(op.name() + ": " + one + " and " + other + " do not go together: " + why)
                        .fact(one, site(one))
                        .fact(other, site(other))
                        .fix("leave out one of the two."));
    }

    private RegistrationException missing(String there, String wanted, String why) {
        return new RegistrationException(
                Message.of(op.name() + ": " + why).fact(there, site(there)).fix("declare " + wanted + " too."));
    }
}
