// SPDX-License-Identifier: Apache-2.0
package dev.merapi.state;

import dev.merapi.error.Message;
import dev.merapi.error.StateDictException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Values by name, in the order in which they were put: tensors, whole numbers, floating numbers, booleans and texts. Dots
 * in a name make a tree: {@code put("optimizer", other)} puts all of another one under {@code optimizer.}, and
 * {@code under("optimizer")} takes them out again.
 *
 * <p>As a file has them, it is two maps: the tensors ({@link #all}) and the rest as texts ({@link #literals}).
 */
public final class StateDict {
    private final Map<String, Object> values = new LinkedHashMap<>();

    /** An empty one. */
    public StateDict() {}

    /**
     * The same values, such as the tensors of a file.
     *
     * @param values by name: tensors, {@code Long}, {@code Double}, {@code Boolean} and {@code String}
     * @return a state in the order of the map
     */
    public static StateDict of(Map<String, ?> values) {
        StateDict state = new StateDict();
        Objects.requireNonNull(values, "values").forEach(state::put);
        return state;
    }

    /**
     * Tensors, and the rest as {@link #literals} has it.
     *
     * @param tensors by name
     * @param literals by name, texts as {@link #literals} makes them
     * @return a state
     * @throws StateDictException if a text is none of those
     */
    public static StateDict of(Map<String, ?> tensors, Map<String, String> literals) {
        StateDict state = of(tensors);
        Objects.requireNonNull(literals, "literals").forEach((name, text) -> state.put(name, parse(name, text)));
        return state;
    }

    /**
     * Puts a value, or all values of another state under {@code name.}; returns this.
     *
     * @param name of the value
     * @param value a tensor, number, boolean, text or another state
     * @return this state
     * @throws IllegalArgumentException if there is a value of that name already
     */
    public StateDict put(String name, Object value) {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(value, "value");
        if (value instanceof StateDict other) {
            List.copyOf(other.values.entrySet()).forEach(e -> put(name + "." + e.getKey(), e.getValue()));
            return this;
        }
        Object kept = value;
        if (value instanceof Integer || value instanceof Short || value instanceof Byte) {
            kept = ((Number) value).longValue();
        } else if (value instanceof Float f) {
            kept = f.doubleValue();
        }
        if (values.putIfAbsent(name, kept) != null) {
            throw new IllegalArgumentException("state: there is already a '" + name + "'");
        }
        return this;
    }

    /**
     * The same with another value of that name, or one more; this one stays as it is.
     *
     * @param name of the value
     * @param value as {@link #put} takes it
     * @return another state
     */
    public StateDict with(String name, Object value) {
        StateDict other = new StateDict();
        values.forEach((n, v) -> {
            if (!n.equals(name)) {
                other.values.put(n, v);
            }
        });
        return other.put(name, value);
    }

    /**
     * The same values under other names: for states that were saved with other names, or of a larger model.
     *
     * @param rule takes each name, and gives the new one, or null to leave the value out
     * @return another state, in the same order
     * @throws IllegalArgumentException if two values would have the same name
     */
    public StateDict renamed(Function<String, @Nullable String> rule) {
        Objects.requireNonNull(rule, "rule");
        StateDict other = new StateDict();
        values.forEach((name, value) -> {
            String renamed = rule.apply(name);
            if (renamed != null) {
                other.put(renamed, value);
            }
        });
        return other;
    }

    /**
     * All names, in order.
     *
     * @return an unmodifiable set
     */
    public Set<String> names() {
        return java.util.Collections.unmodifiableSet(values.keySet());
    }

    /**
     * All values of a type, by name: {@code all(Tensor.class)}.
     *
     * @param <T> the type
     * @param type its class
     * @return by name, in order
     */
    public <T> Map<String, T> all(Class<T> type) {
        Objects.requireNonNull(type, "type");
        Map<String, T> found = new LinkedHashMap<>();
        values.forEach((name, value) -> {
            if (type.isInstance(value)) {
                found.put(name, type.cast(value));
            }
        });
        return found;
    }

    /**
     * Those whose names begin with {@code prefix.}, without it.
     *
     * @param prefix without the dot at its end
     * @return another state
     */
    public StateDict under(String prefix) {
        Objects.requireNonNull(prefix, "prefix");
        StateDict part = new StateDict();
        values.forEach((name, value) -> {
            if (name.startsWith(prefix + ".")) {
                part.values.put(name.substring(prefix.length() + 1), value);
            }
        });
        return part;
    }

    /**
     * The value of that name.
     *
     * @param <T> the type
     * @param name of the value
     * @param type its class, such as {@code Tensor}, {@code Long}, {@code Double}
     * @return the value itself; a tensor is not copied
     * @throws StateDictException if there is none, or it is no {@code T}
     */
    public <T> T get(String name, Class<T> type) {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(type, "type");
        Object value = values.get(name);
        if (!type.isInstance(value)) {
            throw new StateDictException(
                    value == null
                            ? Message.of("state: there is no '" + name + "'").fact("there are", names())
                            : Message.of("state: '" + name + "' is a "
                                    + value.getClass().getSimpleName() + ", not a " + type.getSimpleName()));
        }
        return type.cast(value);
    }

    /**
     * Refuses a state that has other names.
     *
     * @param of whose state it is, for the message
     * @param expected all names that there must be
     * @throws StateDictException if the names are not exactly these, with those that are missing and unknown
     */
    public void requireNames(String of, Set<String> expected) {
        Objects.requireNonNull(of, "of");
        Set<String> missing = new TreeSet<>(Objects.requireNonNull(expected, "expected"));
        missing.removeAll(values.keySet());
        Set<String> unknown = new TreeSet<>(values.keySet());
        unknown.removeAll(expected);
        if (!missing.isEmpty() || !unknown.isEmpty()) {
            throw new StateDictException(Message.of(of + ": the state does not fit")
                    .fact("missing", missing)
                    .fact("unknown", unknown));
        }
    }

    // ---------------------------------------------------------------- as texts

    /**
     * Everything but tensors as texts that keep kind and value exactly: {@code 5}, {@code 0.1}, {@code true}, {@code "x"}.
     *
     * @return by name, in order
     */
    public Map<String, String> literals() {
        Map<String, String> texts = new LinkedHashMap<>();
        values.forEach((name, value) -> {
            if (value instanceof String) {
                texts.put(name, '"' + (String) value); // the quote only says what it is
            } else if (value instanceof Long || value instanceof Double || value instanceof Boolean) {
                texts.put(name, value.toString());
            }
        });
        return texts;
    }

    private static Object parse(String name, String text) {
        if (text.startsWith("\"")) {
            return text.substring(1);
        }
        if (text.equals("true") || text.equals("false")) {
            return text.equals("true");
        }
        try {
            if (text.matches("-?[0-9]+")) {
                return Long.parseLong(text);
            }
            return Double.parseDouble(text);
        } catch (NumberFormatException e) {
            throw new StateDictException(
                    Message.of("state: '" + name + "' is " + text + ", which is no number, boolean or text"));
        }
    }

    /** The names and values, one a line; of a tensor its class. */
    @Override
    public String toString() {
        List<String> lines = new ArrayList<>();
        values.forEach((name, value) -> lines.add(name + ": "
                + (value instanceof Number || value instanceof Boolean || value instanceof String
                        ? value
                        : value.getClass().getSimpleName())));
        return String.join("\n", lines);
    }
}
