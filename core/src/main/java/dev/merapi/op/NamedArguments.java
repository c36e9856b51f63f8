// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.SchemaException;
import dev.merapi.op.tree.Plain;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Makes an argument record out of values by name, with defaults and the few conversions that lose nothing. */
final class NamedArguments {
    private NamedArguments() {}

    static <A extends Record> A bind(Op<A, ?> op, Class<A> type, Map<String, ?> named) {
        Schema schema = op.schema();
        TreeSet<String> unknown = new TreeSet<>(named.keySet());
        Object[] values = new Object[schema.arguments().size()];
        for (int i = 0; i < values.length; i++) {
            Schema.Argument a = schema.arguments().get(i);
            unknown.remove(a.name());
            Object value;
            List<String> elements = op.elements().get(a.name());
            if (named.containsKey(a.name())) {
                value = named.get(a.name());
            } else if (elements != null) {
                value = elements.stream().map(e -> element(op, named, e)).toList();
                elements.forEach(unknown::remove);
            } else if (op.definition().defaults().containsKey(a.name())) {
                value = op.definition().defaults().get(a.name());
                value = value == Definition.ABSENT ? null : value;
            } else if (a.optional()) {
                value = null;
            } else {
                throw missing(op, a.name());
            }
            values[i] = Plain.own(convert(op, schema.record().component(i), value));
        }
        if (!unknown.isEmpty()) {
            throw new SchemaException(op.name() + ": unknown arguments " + unknown + "\n  schema: " + op.schemaText());
        }
        return type.cast(schema.record().make(values));
    }

    private static Object element(Op<?, ?> op, Map<String, ?> named, String name) {
        Object value = named.get(name);
        if (value == null) {
            throw missing(op, name);
        }
        return value;
    }

    private static SchemaException missing(Op<?, ?> op, String name) {
        return new SchemaException(
                op.name() + ": is missing a value for argument '" + name + "'\n  schema: " + op.schemaText());
    }

    /** @throws SchemaException if the value could not stand for that argument */
    static void checkDefault(Op<?, ?> op, String argument, @Nullable Object value) {
        Schema schema = op.schema();
        int i = schema.indexOf(argument);
        Schema.Argument a = schema.arguments().get(i);
        if (a.kind() != Schema.Kind.PLAIN && value != null) {
            throw new SchemaException(
                    op.name() + ": the default of '" + argument + "' can only be null: it is a " + a.type());
        }
        if (value == null && !a.optional()) {
            throw new SchemaException(op.name() + ": the default of '" + argument
                    + "' is null, but the argument is not optional\n  schema: " + op.schemaText());
        }
        convert(op, schema.record().component(i), value);
    }

    private static @Nullable Object convert(Op<?, ?> op, RecordComponent component, @Nullable Object value) {
        Class<?> type = component.getType();
        if (type == Optional.class) {
            Object inner = value instanceof Optional<?> o ? o.orElse(null) : value;
            return Optional.ofNullable(
                    inner == null ? null : converted(op, component.getName(), parameter(component), inner));
        }
        if (value == null) {
            if (type.isPrimitive()) {
                throw new SchemaException(op.name() + ": argument '" + component.getName() + "' may not be null");
            }
            return null;
        }
        if (type == List.class && value instanceof List<?> list) {
            List<@Nullable Object> elements = new ArrayList<>();
            for (int i = 0; i < list.size(); i++) {
                Object e = list.get(i);
                String name = component.getName() + "[" + i + "]";
                elements.add(e == null ? null : converted(op, name, parameter(component), e));
            }
            return Collections.unmodifiableList(elements);
        }
        return converted(op, component.getName(), type, value);
    }

    /** What an optional or a list holds. */
    private static Class<?> parameter(RecordComponent component) {
        Type of = ((ParameterizedType) component.getGenericType()).getActualTypeArguments()[0];
        return of instanceof ParameterizedType p ? (Class<?>) p.getRawType() : (Class<?>) of;
    }

    private static Object converted(Op<?, ?> op, String name, Class<?> type, Object value) {
        if ((type == double.class || type == Double.class) && value instanceof Number n) {
            return n.doubleValue();
        }
        if ((type == long.class || type == Long.class) && (value instanceof Integer || value instanceof Long)) {
            return ((Number) value).longValue();
        }
        if ((type == int.class || type == Integer.class) && value instanceof Long n && n.intValue() == n) {
            return n.intValue();
        }
        boolean fits = type == int.class && value instanceof Integer
                || type == boolean.class && value instanceof Boolean
                || type.isInstance(value);
        if (!fits) {
            throw new SchemaException(op.name() + ": argument '" + name + "' takes "
                    + type.getSimpleName() + ", but got " + value.getClass().getSimpleName() + " " + value
                    + "\n  schema: " + op.schemaText());
        }
        return value;
    }
}
