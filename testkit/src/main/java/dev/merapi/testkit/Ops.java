// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Elementary;
import dev.merapi.ops.PointwiseOp;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Field;
import java.net.URI;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** The built-in ops, all of them: their classes register them only when they are first used. */
public final class Ops {
    private Ops() {}

    /** Every registered op of the engine, in order of name. */
    public static List<Op<?, ?>> builtIn() {
        loadAll();
        return OpRegistry.all().stream()
                .filter(op -> op.name().startsWith("merapi::"))
                .toList();
    }

    /** Every pointwise op that has a public name in Java. */
    public static List<PointwiseOp> pointwise() {
        List<PointwiseOp> found = new ArrayList<>();
        for (Class<?> c : List.of(Activations.class, Arithmetic.class, Comparisons.class, Elementary.class)) {
            for (Field field : c.getFields()) {
                try {
                    if (field.getType() == PointwiseOp.class && field.get(null) instanceof PointwiseOp op) {
                        found.add(op);
                    }
                } catch (IllegalAccessException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        return found;
    }

    static Op<?, ?> named(String name) {
        loadAll();
        return OpRegistry.get(name);
    }

    private static void loadAll() {
        try {
            Class<?> anchor = Op.class;
            URI root =
                    anchor.getProtectionDomain().getCodeSource().getLocation().toURI();
            if (Files.isDirectory(Path.of(root))) {
                initialize(Path.of(root));
            } else {
                try (FileSystem jar = FileSystems.newFileSystem(URI.create("jar:" + root), Map.of())) {
                    initialize(jar.getPath("/"));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (java.net.URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void initialize(Path root) throws IOException {
        for (String folder : List.of("dev/merapi/ops", "dev/merapi/nn", "dev/merapi/optim")) {
            Path classes = root.resolve(folder);
            if (!Files.exists(classes)) {
                continue;
            }
            try (Stream<Path> all = Files.list(classes)) {
                all.map(p -> p.getFileName().toString())
                        .filter(f -> f.endsWith(".class") && !f.contains("-"))
                        .forEach(f -> load(folder.replace('/', '.') + "." + f.substring(0, f.length() - 6)));
            }
        }
    }

    private static void load(String name) {
        try {
            Class.forName(name);
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
    }
}
