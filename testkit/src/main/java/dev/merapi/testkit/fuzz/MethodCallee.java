// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A public method of {@link Tensor}, or a static one of an op's class; the receiver is the first argument. */
record MethodCallee(Method method) implements Callee {
    @Override
    public String name() {
        return method.getName();
    }

    boolean isStatic() {
        return Modifier.isStatic(method.getModifiers());
    }

    /** Whether it writes its receiver: by the convention of a trailing underscore. */
    boolean writes() {
        return method.getName().endsWith("_");
    }

    @Override
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        Object result;
        try {
            result = isStatic()
                    ? method.invoke(null, args)
                    : method.invoke(args[0], Arrays.copyOfRange(args, 1, args.length));
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            if (e.getCause() instanceof Error cause) {
                throw cause;
            }
            throw new IllegalArgumentException(e);
        } catch (IllegalAccessException e) {
            throw new LinkageError("cannot call " + method, e);
        }
        return writes() ? List.of() : tensors(result);
    }

    @SuppressWarnings("unchecked")
    static List<Tensor> tensors(@Nullable Object result) {
        if (result instanceof Tensor t) {
            return List.of(t);
        }
        if (result instanceof List<?> list) {
            return (List<Tensor>) list;
        }
        if (result instanceof Record r) {
            return Catalogue.tensorsOf(r);
        }
        return List.of();
    }

    @Override
    public String part(int i) {
        return Catalogue.part(method.getReturnType(), i);
    }

    @Override
    public boolean isStatement() {
        return writes();
    }

    @Override
    public String print(List<String> args) {
        Class<?> owner = method.getDeclaringClass();
        boolean tensor = owner.isAssignableFrom(Tensor.class);
        String receiver = !isStatic() ? args.get(0) : tensor ? "Tensor" : Literals.type(owner);
        List<String> rest = isStatic() ? args : args.subList(1, args.size());
        return receiver + "." + method.getName() + "(" + String.join(", ", rest) + ")";
    }
}
