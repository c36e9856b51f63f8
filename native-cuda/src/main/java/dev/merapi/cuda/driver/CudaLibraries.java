// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;

/**
 * Where CUDA's own libraries come from, in this order: redist jars on the class path; the folders that
 * {@code -Dmerapi.cuda.libraries} or MERAPI_CUDA_LIBRARIES name; CUDA_HOME and CUDA_PATH; the usual folders of the
 * toolkit, of several the newest first; LD_LIBRARY_PATH; the libraries and the {@code nvidia} packages of the Python
 * environment that VIRTUAL_ENV or CONDA_PREFIX names; where the loader looks by itself.
 */
public final class CudaLibraries {
    private static final String JAR_FOLDER = "org/bytedeco/cuda/" + Loader.getPlatform() + "/";

    private static final Pattern VERSION = Pattern.compile("(\\d+)\\.(\\d+)");

    private CudaLibraries() {}

    /**
     * Opens a library after the ones that it needs but does not find by itself.
     *
     * @param needed beginnings of file names, such as {@code libnvrtc-builtins.so}
     * @param names file names of the library, newest version first
     * @param tried gets a line for each place that was looked at in vain
     * @return its handle, or 0
     */
    public static long open(List<String> needed, List<String> names, List<String> tried) {
        for (String name : names) {
            URL inJar = resource(name);
            if (inJar != null) {
                long handle = fromJar(needed, inJar, tried);
                if (handle != 0) {
                    return handle;
                }
            }
        }
        tried.add("class path: no " + JAR_FOLDER + names.get(0));
        for (Path folder : folders()) {
            long handle = fromFolder(folder, needed, names, tried);
            if (handle != 0) {
                return handle;
            }
        }
        for (String name : names) {
            long handle = load(name, tried);
            if (handle != 0) {
                return handle;
            }
        }
        return 0;
    }

    private static @Nullable URL resource(String name) {
        return CudaLibraries.class.getClassLoader().getResource(JAR_FOLDER + name);
    }

    private static long fromJar(List<String> needed, URL library, List<String> tried) {
        try {
            for (String prefix : needed) {
                for (int minor = 9; minor >= 0; minor--) {
                    String name = library.getPath().replaceAll(".*\\.so\\.(\\d+).*", prefix + ".$1." + minor);
                    URL found = resource(name);
                    if (found != null) {
                        load(Loader.cacheResource(found).getPath(), tried);
                        break;
                    }
                }
            }
            return load(Loader.cacheResource(library).getPath(), tried);
        } catch (IOException e) {
            tried.add(library + ": " + e.getMessage());
            return 0;
        }
    }

    private static long fromFolder(Path folder, List<String> needed, List<String> names, List<String> tried) {
        for (String name : names) {
            Path library = folder.resolve(name);
            if (Files.exists(library)) {
                for (String prefix : needed) {
                    files(folder, prefix).forEach(p -> load(p.toString(), tried));
                }
                long handle = load(library.toString(), tried);
                if (handle != 0) {
                    return handle;
                }
            }
        }
        tried.add(folder + ": no " + names.get(0));
        return 0;
    }

    private static List<Path> folders() {
        List<Path> folders = new ArrayList<>();
        for (String list : new @Nullable String[] {
            System.getProperty("merapi.cuda.libraries"), System.getenv("MERAPI_CUDA_LIBRARIES")
        }) {
            if (list != null) {
                Stream.of(list.split(File.pathSeparator)).map(Path::of).forEach(folders::add);
            }
        }
        for (String home : new @Nullable String[] {
            System.getenv("CUDA_HOME"), System.getenv("CUDA_PATH"), "/usr/local/cuda", "/opt/cuda"
        }) {
            if (home != null) {
                folders.add(Path.of(home, "lib64"));
            }
        }
        for (Path toolkit : toolkits(Path.of("/usr/local"))) {
            folders.add(toolkit.resolve("lib64"));
        }
        String loader = System.getenv("LD_LIBRARY_PATH");
        if (loader != null) {
            Stream.of(loader.split(File.pathSeparator))
                    .filter(f -> !f.isEmpty())
                    .map(Path::of)
                    .forEach(folders::add);
        }
        for (String python : new @Nullable String[] {System.getenv("VIRTUAL_ENV"), System.getenv("CONDA_PREFIX")}) {
            if (python == null) {
                continue;
            }
            folders.add(Path.of(python, "lib"));
            for (Path version : files(Path.of(python, "lib"), "python3")) {
                for (Path part : files(version.resolve("site-packages/nvidia"), "")) {
                    folders.add(part.resolve("lib"));
                }
            }
        }
        return folders;
    }

    /** Folders of the name cuda-12.9, newest first. */
    public static List<Path> toolkits(Path parent) {
        return files(parent, "cuda-").stream()
                .sorted(Comparator.comparing(CudaLibraries::version).reversed())
                .toList();
    }

    private static long version(Path toolkit) {
        Matcher m = VERSION.matcher(toolkit.getFileName().toString());
        return m.find() ? 1000 * Long.parseLong(m.group(1)) + Long.parseLong(m.group(2)) : 0;
    }

    private static List<Path> files(Path folder, String prefix) {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> all = Files.list(folder)) {
            return all.filter(p -> p.getFileName().toString().startsWith(prefix))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            return List.of();
        }
    }

    private static long load(String path, List<String> tried) {
        try (HostMemory text = HostMemory.text(path);
                HostMemory error = HostMemory.allocate(512)) {
            long handle = CudaNative.library_open(text.address(), error.address(), 512);
            if (handle == 0) {
                tried.add(error.text());
            }
            return handle;
        }
    }
}
