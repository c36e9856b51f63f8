// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

import dev.merapi.error.Message;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.ReadyKernel;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Which kernel of a backend serves which op: an op's name, the record of its arguments, its result, dtypes, the kernel.
 *
 * <pre>{@code
 * table.put("softmax", Softmax.Along.class, KernelTable.FLOATING, SoftmaxKernels::softmax);
 * table.put("topk", Ordering.TopK.class, Ordering.Ordered.class, KernelTable.ALL, OrderingKernels::topk);
 * }</pre>
 *
 * <p>These classes tie the kernel's type to the op's: the compiler holds the kernel against them, and {@link #get} the op.
 * The result is one tensor where nothing else is said; {@code Void} stands for none. A class literal does not initialise
 * the class, so a table of all ops defines none of them. Filled by one thread, then only read.
 */
public final class KernelTable {
    /** Every dtype, and ops without any. */
    public static final Predicate<DType> ALL = dtype -> true;

    /** The floating dtypes. */
    public static final Predicate<DType> FLOATING = DType::isFloating;

    /** The result of an op that gives a list of tensors. */
    @SuppressWarnings("unchecked") // what a list holds is no part of its class
    public static final Class<List<Tensor>> TENSORS = (Class<List<Tensor>>) (Class<?>) List.class;

    private static final String BUILT_IN = "merapi::";

    /**
     * What a kernel takes and gives, as an op's arguments and result.
     *
     * @param arguments the record of the arguments
     * @param result {@code Tensor}, {@code List}, {@code Void}, or the class of the result
     */
    public record Signature(Class<? extends Record> arguments, Class<?> result) {
        static Signature of(Definition<?, ?> op) {
            return new Signature(op.op().argumentType(), op.result().type());
        }

        // Not generated: the first of such comparisons takes milliseconds, and every program would wait for it.
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Signature s && s.arguments == arguments && s.result == result;
        }

        @Override
        public int hashCode() {
            return 31 * arguments.hashCode() + result.hashCode();
        }

        @Override
        public String toString() {
            return arguments.getName() + " -> " + result.getName();
        }
    }

    /** @param maker from the op's name to the kernel */
    private record Entry(Signature signature, Predicate<DType> dtypes, Function<String, ReadyKernel<?, ?>> maker) {
        boolean serves(@Nullable DType dtype) {
            return dtype == null ? dtypes == ALL : dtypes.test(dtype);
        }
    }

    private final Map<String, Entry> entries = new LinkedHashMap<>();

    /**
     * A kernel that fills one tensor.
     *
     * @param <A> the record of the op's arguments
     * @param op its name; that of a built-in op without {@code merapi::}
     * @param arguments its class
     * @param dtypes that the kernel serves
     * @param kernel fills the tensor that the shape rule made
     * @throws RegistrationException if there is one already
     */
    public <A extends Record> void put(
            String op, Class<A> arguments, Predicate<DType> dtypes, Kernel<A, Tensor> kernel) {
        put(op, arguments, Tensor.class, dtypes, kernel);
    }

    /**
     * A kernel that fills the outputs; otherwise as above.
     *
     * @param <A> the record of the op's arguments
     * @param <R> its result
     * @param op its name
     * @param arguments the class of the record
     * @param result the class of the result
     * @param dtypes that the kernel serves
     * @param kernel fills the outputs that the shape rule made
     */
    public <A extends Record, R> void put(
            String op, Class<A> arguments, Class<R> result, Predicate<DType> dtypes, Kernel<A, R> kernel) {
        Objects.requireNonNull(kernel, "kernel");
        add(op, arguments, result, dtypes, name -> kernel);
    }

    /**
     * A kernel that makes its result; otherwise as {@link #put}.
     *
     * @param <A> the record of the op's arguments
     * @param <R> its result
     * @param op its name
     * @param arguments the class of the record
     * @param result the class of the result
     * @param dtypes that the kernel serves
     * @param kernel makes the result
     */
    public <A extends Record, R> void putReturning(
            String op, Class<A> arguments, Class<R> result, Predicate<DType> dtypes, Kernel.Returning<A, R> kernel) {
        Objects.requireNonNull(kernel, "kernel");
        add(op, arguments, result, dtypes, name -> kernel);
    }

    /**
     * A kernel as a method of an object that is made for it.
     *
     * @param <K> the object's class
     * @param <A> the arguments
     * @param <R> the result
     */
    @FunctionalInterface
    public interface Method<K, A, R> {
        /**
         * Fills the outputs.
         *
         * @param owner the object
         * @param args of the op
         * @param out the outputs, with memory
         */
        void run(K owner, A args, R out);
    }

    /**
     * As {@link Method}, for kernels that make their result.
     *
     * @param <R> the result
     * @param <K> the object's class
     * @param <A> the arguments
     */
    @FunctionalInterface
    public interface ReturningMethod<K, A, R> {
        /**
         * Makes the result.
         *
         * @param owner the object
         * @param args of the op
         * @return the result
         */
        R run(K owner, A args);
    }

    /**
     * A kernel that is a method of an object, which is made whenever the kernel is asked for; otherwise as {@link #put}.
     *
     * @param <K> the object's class
     * @param <A> the record of the op's arguments
     * @param op its name
     * @param arguments the class of the record
     * @param dtypes that the kernel serves
     * @param maker from the op's full name to the object
     * @param method of the object: fills the tensor
     */
    public <K, A extends Record> void make(
            String op,
            Class<A> arguments,
            Predicate<DType> dtypes,
            Function<String, K> maker,
            Method<K, A, Tensor> method) {
        make(op, arguments, Tensor.class, dtypes, maker, method);
    }

    /**
     * As above, for other results than one tensor.
     *
     * @param <K> the object's class
     * @param <A> the record of the op's arguments
     * @param <R> its result
     * @param op its name
     * @param arguments the class of the record
     * @param result the class of the result
     * @param dtypes that the kernel serves
     * @param maker from the op's full name to the object
     * @param method of the object: fills the outputs
     */
    public <K, A extends Record, R> void make(
            String op,
            Class<A> arguments,
            Class<R> result,
            Predicate<DType> dtypes,
            Function<String, K> maker,
            Method<K, A, R> method) {
        Objects.requireNonNull(maker, "maker");
        Objects.requireNonNull(method, "method");
        add(op, arguments, result, dtypes, name -> bound(maker.apply(name), method));
    }

    private static <K, A, R> Kernel<A, R> bound(K owner, Method<K, A, R> method) {
        return (args, out) -> method.run(owner, args, out);
    }

    /**
     * As {@link #make}, for a kernel that makes its result.
     *
     * @param <K> the object's class
     * @param <A> the record of the op's arguments
     * @param <R> its result
     * @param op its name
     * @param arguments the class of the record
     * @param result the class of the result
     * @param dtypes that the kernel serves
     * @param maker from the op's full name to the object
     * @param method of the object: makes the result
     */
    public <K, A extends Record, R> void makeReturning(
            String op,
            Class<A> arguments,
            Class<R> result,
            Predicate<DType> dtypes,
            Function<String, K> maker,
            ReturningMethod<K, A, R> method) {
        Objects.requireNonNull(maker, "maker");
        Objects.requireNonNull(method, "method");
        add(op, arguments, result, dtypes, name -> bound(maker.apply(name), method));
    }

    private static <K, A, R> Kernel.Returning<A, R> bound(K owner, ReturningMethod<K, A, R> method) {
        return args -> method.run(owner, args);
    }

    private void add(
            String op,
            Class<? extends Record> arguments,
            Class<?> result,
            Predicate<DType> dtypes,
            Function<String, ReadyKernel<?, ?>> maker) {
        String name = op.contains("::") ? op : BUILT_IN + op;
        Signature signature =
                new Signature(Objects.requireNonNull(arguments, "arguments"), Objects.requireNonNull(result, "result"));
        Entry entry = new Entry(signature, Objects.requireNonNull(dtypes, "dtypes"), maker);
        if (entries.putIfAbsent(name, entry) != null) {
            throw new RegistrationException(name + ": this table has a kernel for it already");
        }
    }

    /**
     * The kernel of an op for a dtype; null if there is none.
     *
     * @param <A> the record of the op's arguments
     * @param <R> its result
     * @param op which is asked for by its name
     * @param dtype the dtype that kernels are chosen by; null if the op has no tensors
     * @return a kernel of these classes
     * @throws RegistrationException if the kernel was registered with another record, or another result, than the op's
     */
    @SuppressWarnings("unchecked") // the signature is that of the op
    public <A extends Record, R> @Nullable ReadyKernel<A, R> get(Definition<A, R> op, @Nullable DType dtype) {
        Entry entry = entries.get(op.name());
        if (entry == null || !entry.serves(dtype)) {
            return null;
        }
        Signature wanted = Signature.of(op);
        if (!wanted.equals(entry.signature)) {
            throw new RegistrationException(Message.of(op.name() + ": its kernel is registered for another op")
                    .fact("the op", wanted)
                    .fact("the kernel", entry.signature)
                    .fix("register the kernel with the record and the result of the op."));
        }
        return (ReadyKernel<A, R>) entry.maker.apply(op.name());
    }

    /**
     * What is registered, by the full names of ops.
     *
     * @return a new map, in order of registration
     */
    public Map<String, Signature> signatures() {
        Map<String, Signature> all = new LinkedHashMap<>();
        entries.forEach((name, entry) -> all.put(name, entry.signature));
        return all;
    }
}
