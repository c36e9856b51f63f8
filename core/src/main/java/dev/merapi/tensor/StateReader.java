// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.StateDictException;
import dev.merapi.state.StateDict;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Loads a state in two parts: first everything is named that is expected of it, and compared, then {@link #copy} either
 * refuses with all that is wrong, and nothing is changed, or copies the tensors in.
 *
 * <pre>{@code
 * StateReader in = new StateReader("moving average", state);
 * double decay = in.number("decay");
 * in.tensor("mean", mean);
 * in.copy();
 * this.decay = decay;
 * }</pre>
 */
public final class StateReader {
    private final String of;
    private final StateDict state;
    private final Set<String> missing = new TreeSet<>();
    private final Set<String> unknown;
    private final Map<String, String> wrong = new TreeMap<>();
    private final Map<Tensor, Tensor> copies = new LinkedHashMap<>();

    /**
     * Begins to read a state; what is expected of it is named next.
     *
     * @param of what errors say that the state is loaded into
     * @param state the state; its tensors are copied, and stay the caller's
     */
    public StateReader(String of, StateDict state) {
        this.of = Objects.requireNonNull(of, "of");
        this.state = Objects.requireNonNull(state, "state");
        this.unknown = new LinkedHashSet<>(state.names());
    }

    /**
     * Expects a tensor of the target's shape and dtype, on any device.
     *
     * @param name in the state
     * @param target what {@link #copy} will write
     */
    public void tensor(String name, Tensor target) {
        tensor(name, target, false);
    }

    /**
     * Expects a tensor of the target's shape; a floating dtype becomes the target's.
     *
     * @param name in the state
     * @param target what {@link #copy} will write, floating
     */
    public void floating(String name, Tensor target) {
        tensor(name, target, true);
    }

    private void tensor(String name, Tensor target, boolean converts) {
        Objects.requireNonNull(target, "target");
        Tensor t = value(name, Tensor.class);
        if (t == null) {
            return;
        }
        boolean same = t.dtype() == target.dtype()
                || converts && t.dtype().isFloating() && target.dtype().isFloating();
        if (t.isClosed() || t.isMeta() || target.isClosed()) {
            wrong.put(
                    name, (target.isClosed() ? "the tensor it goes to" : t.describe()) + " is closed or has no values");
        } else if (!same || !t.shape().equals(target.shape())) {
            wrong.put(name, "expected " + target.describe() + ", got " + t.describe());
        } else {
            copies.put(target, t);
        }
    }

    /**
     * Expects a whole number; 0 where that is wrong.
     *
     * @param name in the state
     * @return its value
     */
    public long integer(String name) {
        Long value = value(name, Long.class);
        return value == null ? 0 : value;
    }

    /**
     * Expects a floating number; 0 where that is wrong.
     *
     * @param name in the state
     * @return its value
     */
    public double number(String name) {
        Double value = value(name, Double.class);
        return value == null ? 0 : value;
    }

    /**
     * Expects a boolean; false where that is wrong.
     *
     * @param name in the state
     * @return its value
     */
    public boolean flag(String name) {
        Boolean value = value(name, Boolean.class);
        return value != null && value;
    }

    /**
     * Expects exactly this value.
     *
     * @param name in the state
     * @param expected a number, flag or text of the kinds that a {@link StateDict} has
     */
    public void same(String name, Object expected) {
        Objects.requireNonNull(expected, "expected");
        Object value = value(name, expected.getClass());
        if (value != null && !value.equals(expected)) {
            wrong.put(name, "expected " + expected + ", got " + value);
        }
    }

    /**
     * Says that a value is wrong, unless {@code holds}.
     *
     * @param holds what must be true
     * @param name of the value in the state
     * @param what what the error says of it
     */
    public void require(boolean holds, String name, String what) {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(what, "what");
        if (!holds && !missing.contains(name)) {
            wrong.putIfAbsent(name, what);
        }
    }

    private <T> @org.jspecify.annotations.Nullable T value(String name, Class<T> type) {
        unknown.remove(Objects.requireNonNull(name, "name"));
        if (!state.names().contains(name)) {
            missing.add(name);
            return null;
        }
        try {
            return state.get(name, type);
        } catch (StateDictException e) {
            wrong.put(name, Objects.requireNonNull(e.getMessage()));
            return null;
        }
    }

    /**
     * Copies all tensors in.
     *
     * @throws StateDictException if anything is missing, unknown or wrong
     */
    public void copy() {
        if (!missing.isEmpty() || !unknown.isEmpty() || !wrong.isEmpty()) {
            Message message = Message.of(of + ": the state does not fit");
            if (!missing.isEmpty() || !unknown.isEmpty()) {
                message.fact("missing", missing).fact("unknown", new TreeSet<>(unknown));
            }
            wrong.forEach(message::fact);
            throw new StateDictException(
                    message.fix("load what was saved of the same model with the same options; convert"
                            + " and move to(…) it after that."));
        }
        Context context = Context.current();
        boolean grad = context.setGradEnabled(false);
        try (Scope scope = Scope.open()) {
            copies.forEach((target, from) -> target.copy_(from.to(target.device())));
        } finally {
            context.setGradEnabled(grad);
        }
    }
}
