// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/** What users call: the public classes of the packages for them, less what is for the engine or unsafe, by name. */
final class PublicApi {
    private static final List<String> PACKAGES = List.of(
            "tensor",
            "ops",
            "nn",
            "optim",
            "data",
            "io",
            "autograd",
            "check",
            "op",
            "random",
            "state",
            "train",
            "types");

    /** Public for other packages of the engine and for backends, which pass what they have checked. */
    private static final Set<String> FOR_THE_ENGINE = Set.of(
            "BackwardContext",
            "Definition",
            "GradValidation",
            "Node",
            "Philox",
            "PointwiseArgs",
            "ReduceArgs",
            "Result",
            "Saving",
            "Schema",
            "Site",
            "Sizes",
            "SmallFloat",
            "Specialized",
            "Use"); // of a DrawLog

    /** The same, of single methods; and those of which a wrong argument is a request for something huge. */
    private static final Set<String> EXEMPT = Set.of(
            "Tensor.over",
            "Tensor.requireOpen",
            "Ordering.requireCount",
            "Layout.fits",
            "GradCheck.second", // takes functions of two types, which no one stand-in has
            "GradCheck.secondOfMany",
            "Tensor.address", // unsafe, and says so
            "TransformerDecoder.TransformerDecoder", // two thousand million layers
            "TransformerEncoder.TransformerEncoder",
            "FeedForwardOp.check",
            "FeedForwardOp.composed",
            "Normalization.rowLength",
            "Views.requireFew",
            "Pointwise.define", // tried by name: expressions have limits of their own
            "ReductionOp.define",
            "PairLoss.define",
            "CudaNames.requireSaved",
            "Elements.position");

    private PublicApi() {}

    static List<Class<?>> classes() throws Exception {
        URI root =
                Tensor.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        if (Files.isDirectory(Path.of(root))) {
            return classes(Path.of(root));
        }
        try (FileSystem jar = FileSystems.newFileSystem(URI.create("jar:" + root), Map.of())) {
            return classes(jar.getPath("/"));
        }
    }

    private static List<Class<?>> classes(Path root) throws IOException, ClassNotFoundException {
        List<Class<?>> all = new ArrayList<>();
        for (String p : PACKAGES) {
            try (Stream<Path> files = Files.list(root.resolve("dev/merapi/" + p))) {
                List<String> names = files.map(f -> f.getFileName().toString())
                        .filter(f -> f.endsWith(".class") && !f.contains("-info"))
                        .sorted()
                        .toList();
                for (String n : names) {
                    Class<?> c = Class.forName("dev.merapi." + p + "." + n.substring(0, n.length() - 6));
                    boolean visible = !Throwable.class.isAssignableFrom(c) && !c.isEnum() && !c.isRecord();
                    for (Class<?> k = c; k != null; k = k.getEnclosingClass()) {
                        visible &= Modifier.isPublic(k.getModifiers()) && !FOR_THE_ENGINE.contains(k.getSimpleName());
                    }
                    if (visible) {
                        all.add(c);
                    }
                }
            }
        }
        return all;
    }

    /** Public methods, inherited ones with the class that can be made, and constructors. */
    static List<Executable> callsOf(Class<?> c) {
        List<Executable> all = new ArrayList<>();
        if (c.getSimpleName().endsWith("Methods") || c.getSimpleName().equals("TensorFactories")) {
            return all; // parts of Tensor
        }
        for (Method m : c.getMethods()) {
            boolean own = m.getDeclaringClass() == c || c == Tensor.class;
            if (own && m.getDeclaringClass().getName().startsWith("dev.merapi.") && !m.isBridge() && !m.isSynthetic()) {
                all.add(m);
            }
        }
        if (!Modifier.isAbstract(c.getModifiers())) {
            all.addAll(List.of(c.getConstructors()));
        }
        // What users implement is called by the engine; their own arguments are their own business.
        all.removeIf(e -> c.isInterface() && Modifier.isAbstract(e.getModifiers()));
        all.removeIf(e -> EXEMPT.contains(c.getSimpleName() + "." + name(e))
                || e.getName().equals("equals"));
        all.sort(Comparator.comparing(Executable::toString));
        return all;
    }

    static String name(Executable e) {
        return e instanceof Constructor<?> ? e.getDeclaringClass().getSimpleName() : e.getName();
    }

    /** Classes without an instance here, and methods that take something of which there is no ordinary value. */
    static Set<String> untried() {
        return new TreeSet<>();
    }

    /** What is asked of a tensor, or of its form only, or is refused where it is used. */
    static boolean answersOnClosed(Class<?> c, Executable e) {
        String name = e.getName();
        return switch (c.getSimpleName()) {
            case "Tensor" ->
                name.startsWith("is")
                        || name.endsWith("Like")
                        || Set.of(
                                        "close",
                                        "describe",
                                        "device",
                                        "dtype",
                                        "expandAs",
                                        "grad",
                                        "layout",
                                        "leaveScope",
                                        "meta",
                                        "numel",
                                        "rank",
                                        "requiresGrad",
                                        "shape",
                                        "size",
                                        "tensor",
                                        "toString",
                                        "version",
                                        "zeros")
                                .contains(name);
            case "Autograd" -> Set.of("gradFn", "whyNoGrad").contains(name);
            case "Pair" -> true; // the user's
            case "Index" -> true; // refused where it is used
            case "Grads", "StateReader" -> true; // refused by the backward, or by copy()
            default -> false;
        };
    }

    static boolean opensScope(Class<?> c, Executable e) {
        return c.getSimpleName().equals("Scope")
                && (e.getName().equals("open") || !Modifier.isStatic(e.getModifiers()));
    }

    static boolean isMode(Executable e) {
        return Set.of("noGrad", "enableGrad", "inference").contains(e.getName());
    }

    /** Elements of a buffer are reached by index, as those of an array are. */
    static boolean documentsIndices(Class<?> c) {
        return c.getSimpleName().equals("Elements");
    }

    /** Other names that a text may use, without spaces. */
    static List<String> alsoKnownAs(Class<?> c, Executable e) {
        return switch (c.getSimpleName()) {
            case "Adagrad", "AdamW", "FormulaOptimizer", "Lion", "Muon", "RmsProp", "Sgd" -> List.of("optimizer");
            case "Layout", "Shape" -> List.of("dimension", "shape", "size", "elements");
            case "Memory" -> List.of("device");
            case "MultiheadAttention" -> List.of("sizes", "empty");
            case "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d" ->
                List.of("sizes", "empty");
            case "TransformerEncoderLayer", "TransformerDecoderLayer" ->
                List.of("multiheadattention", "empty", "sizes");
            case "Npy" -> List.of("storage");
            case "Init" -> List.of("empty");
            case "Reductions" -> List.of("min", "max");
            case "OpRegistry" -> List.of("op");
            case "RunDirectory" -> List.of("run");
            case "TensorDataset" -> List.of("dataset");
            case "Elements" -> List.of("element", "storage");
            case "StateDict", "StateReader" -> List.of("state");
            case "Block", "Layer", "Sequential" -> List.of("sequential");
            case "Op" -> List.of("devicetype", "resulttype");
            case "Override" -> List.of("misuse::op");
            case "TextCorpus", "Windows" -> List.of("corpus");
            default ->
                e.getName().equals("argsort")
                        ? List.of("sort")
                        : Set.of("map", "wrap", "over").contains(e.getName())
                                ? List.of("shape")
                                : e.getName().equals("nested")
                                                || e.getName().startsWith("to")
                                                || e.getName().equals("copyTo")
                                                || e.getName().startsWith("item")
                                        ? List.of("of:", "export", "item", "storage")
                                        : List.of();
        };
    }
}
