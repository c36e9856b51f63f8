// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.io.Npz;
import dev.merapi.io.Safetensors;
import dev.merapi.io.SafetensorsFile;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.TensorBoard;
import dev.merapi.types.Device;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.FutureTask;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every public method and constructor for users, with one argument wrong at a time: what comes out is one of the
 * documented exceptions, its first line names what was called, and the thread and the arguments are as they were.
 */
class MisuseSweepTest {
    private static final int FEWEST_CALLS = 5_000;

    @TempDir
    Path folder;

    private final Map<String, List<String>> findings = new TreeMap<>();
    private final TreeSet<String> untried = new TreeSet<>();
    private int calls;

    /** On a thread of its own: a call that is not refused may set one of its modes. */
    @Test
    void everyMisuseIsRefusedByNameAndChangesNothing() throws Exception {
        FutureTask<Void> task = new FutureTask<>(() -> {
            sweep();
            return null;
        });
        Thread thread = new Thread(task, "misuse");
        thread.start();
        task.get();
        assertThat(report()).isEmpty();
        assertThat(untried).as("methods that no arguments are known for").isEqualTo(PublicApi.untried());
        assertThat(calls).isGreaterThan(FEWEST_CALLS);
    }

    private void sweep() throws Exception {
        for (Class<?> c : PublicApi.classes()) {
            for (Executable e : PublicApi.callsOf(c)) {
                oneWrongArgumentAtATime(c, e);
                if (c == Tensor.class && !Modifier.isStatic(e.getModifiers())) {
                    call(c, e, -1, "this is closed", null, Instances.closed());
                    call(c, e, -1, "this is meta", null, Tensor.meta(Instances.matrix()));
                }
            }
        }
    }

    /** Each kind with one example. */
    private List<String> report() {
        List<String> lines = new ArrayList<>();
        findings.forEach((kind, all) -> lines.add("\n" + kind + " (" + all.size() + " times): " + all.get(0)));
        return lines;
    }

    private void oneWrongArgumentAtATime(Class<?> c, Executable e) {
        Type[] types = e.getGenericParameterTypes();
        for (int i = 0; i < types.length; i++) {
            if (!Values.raw(types[i]).isPrimitive()) {
                call(c, e, i, "null", null, null);
            }
            int count;
            try (Scope scope = Scope.open()) {
                count = Values.wrong(types[i], folder).size();
            }
            for (int k = 0; k < count; k++) {
                call(c, e, i, null, k, null);
            }
        }
    }

    /** @param wrong which wrong value argument {@code at} takes; null for null itself */
    private void call(
            Class<?> c, Executable e, int at, @Nullable String name, @Nullable Integer wrong, @Nullable Object given) {
        Type[] types = e.getGenericParameterTypes();
        try (Scope scope = Scope.open()) {
            @Nullable Object[] args = new Object[types.length];
            String what = name;
            for (int i = 0; i < args.length; i++) {
                if (i == at && wrong != null) {
                    Values.Wrong w = Values.wrong(types[i], folder).get(wrong);
                    args[i] = w.value();
                    what = w.name();
                } else if (i != at) {
                    args[i] = Values.ordinary(types[i], folder);
                    if (args[i] == null) {
                        untried.add(c.getSimpleName() + "." + PublicApi.name(e));
                        return;
                    }
                }
            }
            Object self = null;
            if (e instanceof Method && !Modifier.isStatic(e.getModifiers())) {
                self = given != null ? given : instance(c);
                if (self == null) {
                    untried.add(c.getSimpleName());
                    return;
                }
            }
            String argument = at < 0 ? "" : e.getParameters()[at].getName() + " = ";
            run(c, e, c.getSimpleName() + "." + PublicApi.name(e) + ", " + argument + what, self, args, scope);
        }
    }

    /** Those that stand for files are made of one. */
    private @Nullable Object instance(Class<?> c) {
        try {
            Path file = folder.resolve("instance." + c.getSimpleName());
            switch (c.getSimpleName()) {
                case "Metrics":
                    return Metrics.create(file, "loss");
                case "TensorBoard":
                    return TensorBoard.create(folder.resolve("events"));
                case "RunDirectory":
                    return RunDirectory.create(folder, "run");
                case "Npz":
                    Npz.save(file, Map.of("x", Instances.matrix()));
                    return Npz.open(file);
                case "SafetensorsFile":
                    Safetensors.save(file, Map.of("x", Instances.matrix()));
                    return SafetensorsFile.open(file);
                default:
                    return Instances.of(c);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void run(
            Class<?> c, Executable e, String what, @Nullable Object self, @Nullable Object[] args, Scope scope) {
        Context context = Context.current();
        boolean grad = Autograd.isGradEnabled();
        boolean checked = context.isChecked();
        Map<Tensor, Integer> versions = new IdentityHashMap<>();
        collect(self, versions);
        for (Object a : args) {
            collect(a, versions);
        }
        calls++;
        try {
            if (e instanceof Method m) {
                m.invoke(self, args);
            } else {
                ((Constructor<?>) e).newInstance(args);
            }
            if (isClosed(self) || Arrays.stream(args).anyMatch(MisuseSweepTest::isClosed)) {
                if (!PublicApi.answersOnClosed(c, e)) {
                    finding("took a closed tensor", what);
                }
            }
        } catch (InvocationTargetException x) {
            judge(c, e, what, x.getCause());
            versions.forEach((t, version) -> {
                if (!t.isClosed() && t.version() != version) {
                    finding("wrote before it refused", what + " -> " + x.getCause());
                }
            });
        } catch (ReflectiveOperationException | IllegalArgumentException x) {
            finding("could not be called", what + " -> " + x);
        }
        if (context.scope() != scope && !PublicApi.opensScope(c, e)) {
            finding("left a scope open", what);
        }
        context.setScope(scope);
        if (Autograd.isGradEnabled() != grad && !PublicApi.isMode(e)) {
            finding("changed the grad mode", what);
        }
        context.setGradEnabled(grad);
        if (context.isChecked() != checked) {
            finding("changed the checked mode", what);
        }
    }

    private static boolean isClosed(@Nullable Object value) {
        return value instanceof Tensor t && t.isClosed()
                || value instanceof List<?> list && list.stream().anyMatch(MisuseSweepTest::isClosed);
    }

    private static void collect(@Nullable Object value, Map<Tensor, Integer> into) {
        if (value instanceof Tensor t && !t.isMeta() && !t.isClosed()) {
            into.put(t, t.version());
        } else if (value instanceof List<?> list) {
            list.forEach(element -> collect(element, into));
        }
    }

    private void judge(Class<?> c, Executable e, String what, Throwable x) {
        String first = String.valueOf(x.getMessage()).lines().findFirst().orElse("");
        String result = what + " -> " + x.getClass().getSimpleName() + ": " + first;
        if (x instanceof NullPointerException) {
            boolean meant = x.getStackTrace()[0].getClassName().equals("java.util.Objects");
            if (!meant || !first.matches("\\w+")) {
                finding("null without a name: " + place(x), result);
            }
            return;
        }
        boolean documented = x.getClass().getName().startsWith("dev.merapi.")
                || x.getClass() == IllegalArgumentException.class
                || x.getClass() == IllegalStateException.class
                || x instanceof IOException
                || x instanceof UncheckedIOException
                || x instanceof IndexOutOfBoundsException && PublicApi.documentsIndices(c);
        if (!documented) {
            finding("type " + x.getClass().getSimpleName() + ": " + place(x), result);
        } else if (!(x instanceof IOException) && !names(first, c, e)) {
            finding("no name: " + c.getSimpleName() + "." + PublicApi.name(e), result);
        }
    }

    private static String place(Throwable x) {
        for (StackTraceElement f : x.getStackTrace()) {
            if (f.getClassName().startsWith("dev.merapi.")) {
                return f.toString();
            }
        }
        return "?";
    }

    /** Whether a text begins with an op, or has the method's or the class's name. */
    private static boolean names(String first, Class<?> c, Executable e) {
        String said = plain(first);
        return first.startsWith("merapi::")
                || said.contains(plain(PublicApi.name(e)))
                || said.contains(plain(c.getSimpleName()))
                || PublicApi.alsoKnownAs(c, e).stream().anyMatch(said::contains);
    }

    private static String plain(String text) {
        return text.replaceAll("[_ ]", "").toLowerCase(Locale.ROOT);
    }

    private void finding(String kind, String what) {
        findings.computeIfAbsent(kind, k -> new ArrayList<>()).add(what);
    }

    /** What the calls allocated is gone with their scopes. */
    @Test
    void aRefusedCallLeavesNoMemoryBehind() {
        long before;
        try (Scope scope = Scope.open()) {
            refused();
        }
        before = Memory.stats(Device.CPU).allocated();
        for (int i = 0; i < 100; i++) {
            try (Scope scope = Scope.open()) {
                refused();
            }
        }
        assertThat(Memory.stats(Device.CPU).allocated()).isEqualTo(before);
    }

    private static void refused() {
        Tensor x = Instances.matrix();
        List<Runnable> mistakes = List.of(
                () -> x.matmul(x),
                () -> x.add(Tensor.zeros(5)),
                () -> Tensor.cat(List.of(x, Tensor.zeros(5)), 0),
                () -> Tensor.stack(List.of(x, Tensor.zeros(5)), 0),
                () -> x.logSumExp(7),
                () -> x.gather(0, Tensor.full(9, 2, 3).to(dev.merapi.types.DType.INT64)),
                () -> x.add_(Tensor.zeros(4, 4, 4)));
        for (Runnable mistake : mistakes) {
            try {
                mistake.run();
                throw new AssertionError("not refused");
            } catch (IllegalArgumentException expected) {
                // as it should be
            }
        }
    }
}
