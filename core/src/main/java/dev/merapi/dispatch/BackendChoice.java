// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.backend.Backend;
import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.op.Definition;
import dev.merapi.op.ReadyKernel;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.ServiceLoader;
import org.jspecify.annotations.Nullable;

/**
 * Which backend serves each kind of device. The CPU always has one: plain Java if the native one cannot be loaded,
 * with one line that says why.
 */
public final class BackendChoice {
    /** By the type's id, as allocators: replaced as a whole, never changed. */
    private static volatile @Nullable Backend[] chosen = new Backend[DeviceType.LIMIT];

    private static final List<Backend> REGISTERED = new ArrayList<>();
    /** Of each backend that was asked for memory, what the engine has built on it; found again if it serves again. */
    private static final Map<Backend, List<CachingAllocator>> MADE = new IdentityHashMap<>();
    /** Of the backends that serve now, by the index of the device. */
    private static volatile @Nullable CachingAllocator[] @Nullable [] allocators =
            new CachingAllocator[DeviceType.LIMIT][];

    /** Counts how often a backend came or went: kernels that were chosen before are chosen again. */
    private static volatile int generation;

    private static @Nullable FallbackBackend fallback;

    private BackendChoice() {}

    /**
     * The backend of a kind of device.
     *
     * @throws DeviceException if there is none, with the reason of each that was tried
     */
    public static Backend of(DeviceType type) {
        Objects.requireNonNull(type, "type");
        Backend backend = chosen[type.id()];
        return backend != null ? backend : choose(type);
    }

    /** True if a backend of that kind works here; never throws. */
    public static boolean isAvailable(DeviceType type) {
        try {
            of(type);
            return true;
        } catch (DeviceException e) {
            return false;
        }
    }

    public static CachingAllocator allocator(Device device) {
        Objects.requireNonNull(device, "device");
        Backend backend = of(device.type());
        CachingAllocator[] known = allocators[device.type().id()];
        int index = device.index();
        if (known != null && index < known.length && known[index] != null) {
            return known[index];
        }
        if (index >= backend.deviceCount()) {
            throw new DeviceException("device " + device + ": there " + (backend.deviceCount() == 1 ? "is" : "are")
                    + " only " + backend.deviceCount() + " of type " + device.type());
        }
        return allocator(backend, device);
    }

    private static synchronized CachingAllocator allocator(Backend backend, Device device) {
        List<CachingAllocator> made = MADE.computeIfAbsent(backend, b -> new ArrayList<>());
        CachingAllocator found = null;
        for (CachingAllocator a : made) {
            found = a.device() == device ? a : found;
        }
        if (found == null) {
            found = new CachingAllocator(device, backend.memory(device.index()));
            made.add(found);
        }
        if (chosen[device.type().id()] == backend) {
            CachingAllocator[] known = allocators[device.type().id()];
            int length = Math.max(known == null ? 0 : known.length, device.index() + 1);
            CachingAllocator[] next = known == null ? new CachingAllocator[length] : Arrays.copyOf(known, length);
            next[device.index()] = found;
            setAllocators(device.type(), next);
        }
        return found;
    }

    /** The backend that always works: plain Java. It is the engine's own, whatever the thread's class loader sees. */
    public static synchronized FallbackBackend fallback() {
        FallbackBackend known = fallback;
        if (known == null) {
            known = ServiceLoader.load(FallbackBackend.class, BackendChoice.class.getClassLoader())
                    .findFirst()
                    .orElseThrow(() -> new DeviceException(Message.of("cpu: the plain-Java kernels are not there")
                            .fact("searched for", "META-INF/services/" + FallbackBackend.class.getName())
                            .fix("keep the files of META-INF/services when jars are put together.")));
            fallback = known;
        }
        return known;
    }

    /**
     * The plain-Java kernel of an op, for any device whose memory Java sees: its own reference, else that of the engine.
     *
     * @return a {@code Kernel}, a {@code Kernel.Returning}, or null if there is none
     */
    public static @Nullable ReadyKernel<?, ?> javaKernel(Definition<?, ?> op, @Nullable DType dtype) {
        ReadyKernel<?, ?> own = op.reference();
        return own != null ? ScopedKernel.of(op, own) : fallback().kernel(op, dtype);
    }

    /** Grows whenever a backend comes or goes. */
    public static int generation() {
        return generation;
    }

    /** Adds a backend by hand; what is returned takes it away again. */
    public static synchronized Runnable register(Backend backend) {
        REGISTERED.add(backend);
        changed(backend);
        return () -> forget(backend);
    }

    private static synchronized void forget(Backend backend) {
        if (REGISTERED.remove(backend)) {
            MADE.remove(backend);
            changed(backend);
        }
    }

    private static synchronized void changed(Backend backend) {
        setChosen(backend.deviceType(), null);
        setAllocators(backend.deviceType(), null);
        generation++;
    }

    private static synchronized Backend choose(DeviceType type) {
        Backend known = chosen[type.id()];
        if (known != null) {
            return known;
        }
        List<Backend> candidates = new ArrayList<>(REGISTERED);
        for (Backend backend : ServiceLoader.load(Backend.class, BackendChoice.class.getClassLoader())) {
            candidates.add(backend);
        }
        candidates.removeIf(b -> b.deviceType() != type);
        candidates.sort(Comparator.comparingInt(Backend::priority).reversed());
        List<String> reasons = new ArrayList<>();
        Throwable cause = null;
        for (Backend backend : candidates) {
            Throwable why = backend.unavailableBecause();
            if (why == null) {
                return set(type, backend);
            }
            reasons.add(backend.description() + ": " + why);
            cause = cause == null ? why : cause;
        }
        if (type == DeviceType.CPU) {
            PlainJava.announce(cause);
            return set(type, fallback());
        }
        Message message = Message.of(type + ": no backend for this device works here");
        reasons.forEach(r -> message.fact("tried", r));
        if (reasons.isEmpty()) {
            message.fact("tried", "nothing: no backend of this type is on the class path");
        }
        DeviceException e = new DeviceException(message);
        if (cause != null) {
            e.initCause(cause);
        }
        throw e;
    }

    private static Backend set(DeviceType type, Backend backend) {
        setChosen(type, backend);
        return backend;
    }

    private static void setChosen(DeviceType type, @Nullable Backend backend) {
        @Nullable Backend[] next = chosen.clone();
        next[type.id()] = backend;
        chosen = next;
    }

    private static void setAllocators(DeviceType type, @Nullable CachingAllocator @Nullable [] known) {
        @Nullable CachingAllocator[] @Nullable [] next = allocators.clone();
        next[type.id()] = known;
        allocators = next;
    }
}
