// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

import dev.merapi.error.Message;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.types.DType;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Which kernel of a backend serves which op: an op's name, the record of its arguments, dtypes, the kernel.
 *
 * <pre>{@code
 * table.put("softmax", Softmax.Along.class, KernelTable.FLOATING, SoftmaxKernels::softmax);
 * }</pre>
 *
 * <p>The record ties the kernel's type to the op's: the compiler holds the kernel against it, and {@link #get} the op. A
 * class literal does not initialise the class, so a table of all ops defines none of them. Filled by one thread, then only
 * read.
 */
public final class KernelTable {
    /** Every dtype, and ops without any. */
    public static final Predicate<DType> ALL = dtype -> true;

    public static final Predicate<DType> FLOATING = DType::isFloating;

    private static final String BUILT_IN = "merapi::";

    /** @param maker from the op's name to a {@link Kernel} or {@link Kernel.Returning} */
    private record Entry(Class<? extends Record> arguments, Predicate<DType> dtypes, Function<String, Object> maker) {
        boolean serves(@Nullable DType dtype) {
            return dtype == null ? dtypes == ALL : dtypes.test(dtype);
        }
    }

    private final Map<String, Entry> entries = new LinkedHashMap<>();

    /**
     * A kernel that fills the outputs.
     *
     * @param op its name; that of a built-in op without {@code merapi::}
     * @throws RegistrationException if there is one already
     */
    public <A extends Record, R> void put(String op, Class<A> arguments, Predicate<DType> dtypes, Kernel<A, R> kernel) {
        Objects.requireNonNull(kernel, "kernel");
        add(op, arguments, dtypes, name -> kernel);
    }

    /** A kernel that makes its result; otherwise as {@link #put}. */
    public <A extends Record, R> void putReturning(
            String op, Class<A> arguments, Predicate<DType> dtypes, Kernel.Returning<A, R> kernel) {
        Objects.requireNonNull(kernel, "kernel");
        add(op, arguments, dtypes, name -> kernel);
    }

    /** A kernel as a method of an object that is made for it. */
    @FunctionalInterface
    public interface Method<K, A, R> {
        void run(K owner, A args, R out);
    }

    /** As {@link Method}, for kernels that make their result. */
    @FunctionalInterface
    public interface ReturningMethod<K, A, R> {
        R run(K owner, A args);
    }

    /**
     * A kernel that is a method of an object, which is made whenever the kernel is asked for; otherwise as {@link #put}.
     *
     * @param maker from the op's full name to the object
     */
    public <K, A extends Record, R> void make(
            String op, Class<A> arguments, Predicate<DType> dtypes, Function<String, K> maker, Method<K, A, R> method) {
        Objects.requireNonNull(maker, "maker");
        Objects.requireNonNull(method, "method");
        add(op, arguments, dtypes, name -> bound(maker.apply(name), method));
    }

    private static <K, A, R> Kernel<A, R> bound(K owner, Method<K, A, R> method) {
        return (args, out) -> method.run(owner, args, out);
    }

    /** As {@link #make}, for a kernel that makes its result. */
    public <K, A extends Record, R> void makeReturning(
            String op,
            Class<A> arguments,
            Predicate<DType> dtypes,
            Function<String, K> maker,
            ReturningMethod<K, A, R> method) {
        Objects.requireNonNull(maker, "maker");
        Objects.requireNonNull(method, "method");
        add(op, arguments, dtypes, name -> bound(maker.apply(name), method));
    }

    private static <K, A, R> Kernel.Returning<A, R> bound(K owner, ReturningMethod<K, A, R> method) {
        return args -> method.run(owner, args);
    }

    private void add(
            String op, Class<? extends Record> arguments, Predicate<DType> dtypes, Function<String, Object> maker) {
        String name = op.contains("::") ? op : BUILT_IN + op;
        Entry entry = new Entry(
                Objects.requireNonNull(arguments, "arguments"), Objects.requireNonNull(dtypes, "dtypes"), maker);
        if (entries.putIfAbsent(name, entry) != null) {
            throw new RegistrationException(name + ": this table has a kernel for it already");
        }
    }

    /**
     * The kernel of an op for a dtype: a {@link Kernel} or {@link Kernel.Returning}; null if there is none.
     *
     * @param dtype the dtype that kernels are chosen by; null if the op has no tensors
     * @throws RegistrationException if the kernel was registered with another record than the op's
     */
    public @Nullable Object get(Definition<?, ?> op, @Nullable DType dtype) {
        Entry entry = entries.get(op.name());
        if (entry == null || !entry.serves(dtype)) {
            return null;
        }
        Class<?> taken = op.op().argumentType();
        if (taken != entry.arguments) {
            throw new RegistrationException(Message.of(op.name() + ": its kernel is registered for another record")
                    .fact("the op takes", taken.getName())
                    .fact("the kernel takes", entry.arguments.getName())
                    .fix("register the kernel with the record of the op."));
        }
        return entry.maker.apply(op.name());
    }

    /** What is registered: the full names of ops, and the records of their arguments. */
    public Map<String, Class<? extends Record>> records() {
        Map<String, Class<? extends Record>> all = new LinkedHashMap<>();
        entries.forEach((name, entry) -> all.put(name, entry.arguments));
        return all;
    }
}
