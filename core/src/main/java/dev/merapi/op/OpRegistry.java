// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.Message;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.Spelling;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** All registered ops by name. Definitions live until they are destroyed, which only tests and notebooks do. */
public final class OpRegistry {
    private static final Map<String, Op<?, ?>> OPS = new ConcurrentHashMap<>();
    private static final String OWN = "merapi";
    private static final Set<String> RESERVED = Set.of("prim", "prims", "aten", "at", "torch", "pytorch", OWN);

    private OpRegistry() {}

    /** @throws SchemaException if the name has not the form {@code namespace::name}, or the namespace is reserved */
    static void checkName(String name) {
        int split = name.indexOf("::");
        if (split < 0) {
            throw new SchemaException("op name '" + name + "': expected a namespace\n  fix: something like mylib::"
                    + (name.isEmpty() ? "name" : name));
        }
        String namespace = name.substring(0, split);
        String local = name.substring(split + 2);
        if (!isWord(namespace)) {
            throw new SchemaException("op name '" + name + "': namespace '" + namespace
                    + "' must be letters, digits and _, not beginning with a digit");
        }
        if (!isWord(local)) {
            throw new SchemaException("op name '" + name + "': '" + local
                    + "' must be letters, digits and _, not beginning with a digit; there are no overloads");
        }
        if (RESERVED.contains(namespace) && !(namespace.equals(OWN) && Site.isEngine())) {
            throw new SchemaException("op name '" + name + "': '" + namespace + "' is a reserved namespace"
                    + "\n  fix: take a namespace of your own, as in mylib::" + local);
        }
    }

    /** Letters, digits and _; by hand, as regular expressions are many classes, for which every start would wait. */
    static boolean isWord(String name) {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            boolean letter = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_';
            if (!letter && (i == 0 || c < '0' || c > '9')) {
                return false;
            }
        }
        return !name.isEmpty();
    }

    /**
     * A built-in op has a kernel on every device that comes with the engine, whether or not it is a piece.
     *
     * @throws RegistrationException if somebody else would put one in its place without saying so
     */
    static void refuseHiddenReplacement(String name, DeviceType device) {
        boolean covered = device == DeviceType.CPU || device == DeviceType.CUDA || device == DeviceType.CUDA_SIM;
        if (covered && name.startsWith(OWN + "::") && !Site.isEngine()) {
            throw new RegistrationException(Message.of(name, "is built in, and has a kernel for " + device + " already")
                    .fix("use replaceKernel(…) to take its place for good, or override() for a while."));
        }
    }

    static void add(Op<?, ?> op) {
        Op<?, ?> there = OPS.putIfAbsent(op.name(), op);
        if (there != null) {
            throw new RegistrationException(Message.of(op.name() + ": an op of this name is registered already")
                    .fact("first", there.definedAt())
                    .fact("second", op.definedAt())
                    .fix("choose another name, or OpRegistry.destroy(\"" + op.name() + "\") first."));
        }
    }

    /**
     * The op of that name.
     *
     * @param name {@code namespace::name}
     * @return the op
     * @throws RegistrationException if there is none, naming those of the same namespace
     */
    public static Op<?, ?> get(String name) {
        Objects.requireNonNull(name, "name");
        Op<?, ?> op = OPS.get(name);
        if (op == null) {
            String prefix = name.contains("::") ? name.substring(0, name.indexOf("::") + 2) : name;
            List<String> known = OPS.keySet().stream()
                    .filter(n -> n.startsWith(prefix))
                    .sorted()
                    .toList();
            Message m = Message.of("could not find the op " + name
                            + "; it may not be registered yet: its class registers it when it is initialised")
                    .fact("known in that namespace", known);
            String near = Spelling.nearest(name, OPS.keySet());
            throw new RegistrationException(near == null ? m : m.fact("nearest", near));
        }
        return op;
    }

    /**
     * All registered ops in order of name.
     *
     * @return a new list
     */
    public static List<Op<?, ?>> all() {
        List<Op<?, ?>> ops = new ArrayList<>(OPS.values());
        ops.sort(java.util.Comparator.comparing(Op::name));
        return ops;
    }

    /**
     * Forgets an op, so that its name can be defined again.
     *
     * @param name {@code namespace::name}; who holds the op can call it still
     * @throws RegistrationException if there is none
     */
    public static void destroy(String name) {
        Objects.requireNonNull(name, "name");
        if (OPS.remove(name) == null) {
            throw new RegistrationException("destroy: there is no op " + name);
        }
    }
}
