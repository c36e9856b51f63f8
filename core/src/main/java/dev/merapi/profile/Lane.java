// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import dev.merapi.autograd.Node;
import dev.merapi.dispatch.Observer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.WeakHashMap;
import org.jspecify.annotations.Nullable;

/**
 * One thread: what is in progress, what came of it, and the events of its trace. Only that thread changes it; reports read it
 * from others.
 */
final class Lane {
    final long thread;
    final String threadName;

    /** Something that took time. */
    record Event(Kind kind, String name, @Nullable String place, long start, long nanos, long bytes) {}

    private static final class Frame {
        Kind kind = Kind.OP;
        String name = "";
        /** The layer of the model; of a node that is gone through backward, where it was made. */
        @Nullable
        String place;

        boolean backward;
        long start;
        long within; // what frames inside of it took
        long bytes;

        @Nullable
        WorkEvent flight;
    }

    private record Key(
            Kind kind,
            String name,
            boolean backward,
            @Nullable String place) {}

    private final int mostEvents;
    private final Map<Key, Total> totals = new HashMap<>();
    private final List<Event> events = new ArrayList<>();
    private final Map<Node, String> madeIn = new WeakHashMap<>();
    private Frame[] stack = new Frame[16];
    private int depth;

    Lane(Thread thread, int mostEvents) {
        this.thread = thread.getId();
        this.threadName = thread.getName();
        this.mostEvents = mostEvents;
    }

    void begin(Observer.Work work, Object subject) {
        switch (work) {
            case BACKWARD -> {
                String place = madeIn.get((Node) subject);
                Frame f = push(Kind.BACKWARD, ((Node) subject).name());
                f.backward = true;
                f.place = place;
            }
            case BLOCK -> {
                Frame f = push(Kind.BLOCK, subject.toString());
                f.place = f.name;
            }
            case RANGE -> push(Kind.RANGE, subject.toString());
            default -> push(Kind.WAIT, subject.toString());
        }
    }

    void begin(Kind kind, String name) {
        push(kind, name);
    }

    private Frame push(Kind kind, String name) {
        if (depth == stack.length) {
            stack = Arrays.copyOf(stack, depth * 2);
        }
        Frame f = stack[depth];
        if (f == null) {
            f = new Frame();
            stack[depth] = f;
        }
        Frame outer = depth == 0 ? null : stack[depth - 1];
        depth++;
        f.kind = kind;
        f.name = name;
        f.place = outer == null ? null : outer.place;
        f.backward = outer != null && outer.backward;
        f.within = 0;
        f.bytes = 0;
        f.flight = WorkEvent.begin();
        f.start = System.nanoTime();
        return f;
    }

    /** The layer of the model that is in progress. */
    @Nullable
    String place() {
        return depth == 0 ? null : stack[depth - 1].place;
    }

    /** A node belongs to the layer that made it, also when its gradients are computed. */
    void made(@Nullable Node node, String place) {
        if (node != null) {
            madeIn.putIfAbsent(node, place);
        }
    }

    /** @param bytes that were made, besides those within */
    synchronized void end(long bytes) {
        Frame f = stack[--depth];
        long nanos = System.nanoTime() - f.start;
        long made = f.bytes + bytes;
        Total t = totals.computeIfAbsent(
                new Key(f.kind, f.name, f.backward, f.place), k -> new Total(k.kind, k.name, k.backward, k.place));
        t.calls++;
        t.all += nanos;
        t.own += nanos - f.within;
        t.bytes += made;
        if (depth > 0) {
            Frame outer = stack[depth - 1];
            outer.within += nanos;
            if (f.kind == Kind.KERNEL && outer.name.equals(f.name)) {
                outer.bytes += made;
            }
        }
        if (events.size() < mostEvents) {
            events.add(new Event(f.kind, f.name, f.place, f.start, nanos, made));
        }
        if (f.flight != null) {
            f.flight.commit(f.kind, f.name, f.place, made);
            f.flight = null;
        }
    }

    synchronized void addTo(List<Total> all) {
        totals.values().forEach(t -> {
            Total copy = new Total(t.kind, t.name, t.backward, t.place);
            copy.add(t);
            all.add(copy);
        });
    }

    synchronized List<Event> events() {
        return List.copyOf(events);
    }

    synchronized void reset() {
        totals.clear();
        events.clear();
    }
}
