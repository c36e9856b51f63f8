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
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which backend serves each kind of device. The CPU always has one: plain Java if the native one cannot be loaded,
 * with one line that says why.
 */
public final class BackendChoice {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    private static final AtomicReferenceArray<Backend> CHOSEN = new AtomicReferenceArray<>(DeviceType.LIMIT);
    private static final List<Backend> REGISTERED = new ArrayList<>();
    /** Of each backend that was asked for memory, what the engine has built on it; found again if it serves again. */
    private static final Map<Backend, List<CachingAllocator>> MADE = new IdentityHashMap<>();
    /** Of the backends that serve now, by the index of the device. */
    private static final AtomicReferenceArray<CachingAllocator[]> ALLOCATORS =
            new AtomicReferenceArray<>(DeviceType.LIMIT);
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
        Backend backend = CHOSEN.get(type.id());
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
        CachingAllocator[] known = ALLOCATORS.get(device.type().id());
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
        if (CHOSEN.get(device.type().id()) == backend) {
            CachingAllocator[] known = ALLOCATORS.get(device.type().id());
            int length = Math.max(known == null ? 0 : known.length, device.index() + 1);
            CachingAllocator[] next = known == null ? new CachingAllocator[length] : Arrays.copyOf(known, length);
            next[device.index()] = found;
            ALLOCATORS.set(device.type().id(), next);
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
        CHOSEN.set(backend.deviceType().id(), null);
        ALLOCATORS.set(backend.deviceType().id(), null);
        generation++;
    }

    private static synchronized Backend choose(DeviceType type) {
        Backend known = CHOSEN.get(type.id());
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
                if (LOG.isDebugEnabled()) {
                    LOG.debug("{}: {}", type, backend.description());
                }
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

    private static Backend set(DeviceType type, @Nullable Backend backend) {
        CHOSEN.set(type.id(), backend);
        return java.util.Objects.requireNonNull(backend);
    }
}
