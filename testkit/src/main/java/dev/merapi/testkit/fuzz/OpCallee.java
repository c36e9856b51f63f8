// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.op.Op;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A call of a registered op with a record of arguments. */
record OpCallee<A extends Record, R>(Op<A, R> op) implements Callee {
    @Override
    public String name() {
        return op.name();
    }

    @Override
    @SuppressWarnings("unchecked")
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        R result = op.call((A) RecordType.of(op.schema().type(), null).make(args));
        List<Tensor> made = new ArrayList<>(Arrays.asList(op.result().tensors(op.name(), result)));
        made.removeIf(Tensor::isClosed); // what only backward sees
        return made;
    }

    @Override
    public boolean isStatement() {
        return op.result().isNone();
    }

    @Override
    public String part(int i) {
        String form = op.result().toString();
        if (op.result().isTensor()) {
            return "";
        }
        return form.startsWith("(")
                ? "." + form.split("Tensor ")[i + 1].replaceAll("[,)].*", "") + "()"
                : ".get(" + i + ")";
    }

    @Override
    public String print(List<String> args) {
        Class<?> record = RecordType.of(op.schema().type(), null).type();
        String field = Catalogue.fieldOf(op);
        if (field != null && Modifier.isPublic(record.getModifiers())) {
            return field + ".call(new " + Literals.type(record) + "(" + String.join(", ", args) + "))";
        }
        StringBuilder named = new StringBuilder("OpRegistry.get(\"" + op.name() + "\").call(named(");
        for (int i = 0; i < args.size(); i++) {
            named.append(i == 0 ? "" : ", ")
                    .append('"')
                    .append(RecordType.of(op.schema().type(), null).name(i))
                    .append("\", ")
                    .append(args.get(i));
        }
        return (op.result().isTensor() ? "(Tensor) " : "") + named + "))";
    }
}
