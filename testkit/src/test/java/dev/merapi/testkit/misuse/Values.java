// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import dev.merapi.data.Dataset;
import dev.merapi.data.TensorDataset;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.DeviceCode;
import dev.merapi.op.LayerRule;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.optim.Optimizer;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Index;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.Reader;
import java.io.StringReader;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Array;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Proxy;
import java.lang.reflect.Type;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Arguments for a public method: an ordinary one of each type, and those that somebody might pass by mistake. */
final class Values {
    private Values() {}

    /** What stands for the other arguments while one is wrong; null if there is none of this type. */
    static @Nullable Object ordinary(Type type, Path folder) {
        Class<?> raw = raw(type);
        if (raw == Tensor.class) {
            return Tensor.of(new float[] {1, 2, 3, 4, 5, 6}).view(2, 3);
        }
        if (raw == List.class && type instanceof ParameterizedType p) {
            Object element = ordinary(p.getActualTypeArguments()[0], folder);
            return element == null ? List.of() : List.of(element);
        }
        if (raw == int.class || raw == Integer.class) {
            return 1;
        }
        if (raw == long.class || raw == Long.class) {
            return 1L;
        }
        if (raw == double.class || raw == Double.class || raw == Number.class) {
            return 0.5;
        }
        if (raw == float.class) {
            return 0.5f;
        }
        if (raw == short.class) {
            return (short) 1;
        }
        if (raw == byte.class) {
            return (byte) 1;
        }
        if (raw == char.class) {
            return ',';
        }
        if (raw == boolean.class) {
            return false;
        }
        if (raw == String.class || raw == CharSequence.class) {
            return "misuse";
        }
        if (raw == DType.class) {
            return DType.FLOAT32;
        }
        if (raw == Device.class) {
            return Device.CPU;
        }
        if (raw == DeviceType.class) {
            return DeviceType.CPU;
        }
        if (raw == Shape.class) {
            return Shape.of(2, 3);
        }
        if (raw == Index.class) {
            return Index.at(1);
        }
        if (raw == StateDict.class) {
            return new StateDict().with("misuse", 1L);
        }
        if (raw == Path.class) {
            return folder.resolve("misuse.bin");
        }
        if (raw == Class.class) {
            Class<?> bound = type instanceof ParameterizedType p ? raw(p.getActualTypeArguments()[0]) : Object.class;
            return bound == Record.class ? Instances.X.class : Tensor.class;
        }
        if (raw == MethodHandles.Lookup.class) {
            return MethodHandles.lookup();
        }
        if (raw == Result.class) {
            return Result.tensor();
        }
        if (raw == DeviceCode.class) {
            return CudaKernel.body("out[i] = x[i];");
        }
        if (raw == CudaKernel.Launch.class) {
            return new CudaKernel.Elements(64);
        }
        if (raw == Optimizer.class) {
            return Instances.of(Optimizer.class);
        }
        if (raw == Dataset.class) {
            return Instances.of(TensorDataset.class);
        }
        if (raw == InputStream.class) {
            return new ByteArrayInputStream(new byte[] {0, 0, 8, 1, 0, 0, 0, 2, 1, 2});
        }
        if (raw == Reader.class) {
            return new StringReader("a,b\n1,2\n");
        }
        if (raw == ClassLoader.class) {
            return Values.class.getClassLoader();
        }
        if (raw == FloatBuffer.class) {
            return FloatBuffer.allocate(6);
        }
        if (raw == DoubleBuffer.class) {
            return DoubleBuffer.allocate(6);
        }
        if (raw == LongBuffer.class) {
            return LongBuffer.allocate(6);
        }
        if (raw == IntBuffer.class) {
            return IntBuffer.allocate(6);
        }
        if (raw == ByteBuffer.class) {
            return ByteBuffer.allocate(24);
        }
        if (raw == SortedMap.class) {
            return new TreeMap<>(Map.of("a.txt", "some text"));
        }
        if (raw == Map.class) {
            return Map.of();
        }
        if (raw == Set.class) {
            return Set.of("misuse");
        }
        if (raw == Definition.class) {
            return ((Op<?, ?>) Objects.requireNonNull(Instances.of(Op.class))).definition();
        }
        if (raw == Record.class) {
            return new Instances.X(Instances.matrix());
        }
        if (raw == Optional.class) {
            return Optional.empty();
        }
        if (raw == Object.class) {
            return "misuse";
        }
        if (raw.isEnum()) {
            return raw.getEnumConstants()[0];
        }
        if (raw.isArray()) {
            Object element = ordinary(raw.getComponentType(), folder);
            Object array = Array.newInstance(raw.getComponentType(), element == null ? 0 : 1);
            if (element != null) {
                Array.set(array, 0, element);
            }
            return array;
        }
        if (raw.isInterface() && raw.getName().startsWith("java.util.function.")
                || raw == Runnable.class
                || raw == LayerRule.class
                || raw.isInterface() && raw.isAnnotationPresent(FunctionalInterface.class)) {
            return function(raw, type);
        }
        return raw.getName().startsWith("dev.merapi.") ? Instances.of(raw) : null;
    }

    /** A function that gives back its first argument if it can. */
    private static Object function(Class<?> type, Type generic) {
        Class<?> given = Function.class == type && generic instanceof ParameterizedType p
                ? raw(p.getActualTypeArguments()[1])
                : Object.class;
        return Proxy.newProxyInstance(Values.class.getClassLoader(), new Class<?>[] {type}, (self, method, args) -> {
            if (method.getDeclaringClass() == Object.class) {
                return method.getName().equals("toString")
                        ? "function"
                        : method.getName().equals("hashCode") ? 1 : self == args[0];
            }
            Class<?> wanted = method.getReturnType();
            if (wanted == boolean.class) {
                return false;
            }
            if (wanted.isPrimitive() && wanted != void.class) {
                return ordinary(wanted, Path.of("."));
            }
            return args != null
                            && wanted != void.class
                            && args.length > 0
                            && wanted.isInstance(args[0])
                            && given.isInstance(args[0])
                    ? args[0]
                    : null;
        });
    }

    /** Wrong ones by name; null is not among them. */
    static List<Wrong> wrong(Type type, Path folder) {
        Class<?> raw = raw(type);
        List<Wrong> all = new ArrayList<>();
        if (raw == Tensor.class) {
            all.addAll(tensors());
        } else if (raw == List.class && type instanceof ParameterizedType p) {
            all.add(new Wrong("empty list", List.of()));
            all.add(new Wrong("list of null", new ArrayList<>(Arrays.asList((Object) null))));
            if (raw(p.getActualTypeArguments()[0]) == Tensor.class) {
                for (Wrong t : tensors()) {
                    all.add(new Wrong(
                            "list with " + t.name,
                            List.of(Tensor.of(new float[] {1, 2, 3, 4, 5, 6}).view(2, 3), t.value)));
                }
            }
        } else if (raw == int.class || raw == Integer.class) {
            for (int v : new int[] {-1, 0, 2, 9, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
                all.add(new Wrong(String.valueOf(v), v));
            }
        } else if (raw == long.class || raw == Long.class) {
            for (long v : new long[] {-1, 0, 2, 9, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 62, Long.MAX_VALUE / 3}) {
                all.add(new Wrong(String.valueOf(v), v));
            }
        } else if (raw == double.class || raw == Double.class) {
            for (double v :
                    new double[] {Double.NaN, -1, 0, 1e300, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
                all.add(new Wrong(String.valueOf(v), v));
            }
        } else if (raw == float.class) {
            for (float v : new float[] {Float.NaN, -1, 0, Float.POSITIVE_INFINITY}) {
                all.add(new Wrong(String.valueOf(v), v));
            }
        } else if (raw == Number.class) {
            for (Number v : new Number[] {
                Double.NaN,
                -1,
                1e300,
                Long.MIN_VALUE,
                Double.POSITIVE_INFINITY,
                new java.math.BigInteger("99999999999999999999999")
            }) {
                all.add(new Wrong(String.valueOf(v), v));
            }
        } else if (raw == String.class) {
            for (String v : new String[] {"", "no/such\\name", "merapi::nothing", "\u0000"}) {
                all.add(new Wrong("\"" + v + "\"", v));
            }
        } else if (raw == DType.class) {
            for (DType v : DType.values()) {
                all.add(new Wrong(v.toString(), v));
            }
        } else if (raw == Device.class) {
            all.add(new Wrong("cpu:9", Device.of(DeviceType.CPU, 9)));
            all.add(new Wrong("lost:0", Device.of(DeviceType.register("lost"), 0)));
        } else if (raw == DeviceType.class) {
            all.add(new Wrong("lost", DeviceType.register("lost")));
        } else if (raw == Shape.class) {
            all.add(new Wrong("[0, 3]", Shape.of(0, 3)));
            all.add(new Wrong("[]", Shape.SCALAR));
            all.add(new Wrong("[5, 7, 9]", Shape.of(5, 7, 9)));
            all.add(new Wrong("[2^62]", Shape.of(1L << 62)));
        } else if (raw == long[].class) {
            for (long[] v : new long[][] {
                {},
                {-1},
                {-2, -2},
                {0},
                {5, 7, 9},
                {1L << 62},
                {1L << 32, 1L << 32},
                {Long.MIN_VALUE},
                {Long.MAX_VALUE, 2}
            }) {
                all.add(new Wrong(Arrays.toString(v), v));
            }
        } else if (raw == int[].class) {
            for (int[] v : new int[][] {{}, {-1}, {-3}, {0, 0}, {2}, {Integer.MIN_VALUE}, {0, 1, 2, 3}}) {
                all.add(new Wrong(Arrays.toString(v), v));
            }
        } else if (raw == double[].class) {
            for (double[] v : new double[][] {{}, {Double.NaN}}) {
                all.add(new Wrong(Arrays.toString(v), v));
            }
        } else if (Buffer.class.isAssignableFrom(raw)) {
            all.add(new Wrong("too short", shortBuffer(raw)));
        } else if (raw == InputStream.class) {
            all.add(new Wrong("empty", InputStream.nullInputStream()));
            all.add(new Wrong("noise", new ByteArrayInputStream(new byte[] {7, 1, 99, 3, -1, -1, -1, -1, 9})));
        } else if (raw == Path.class) {
            all.add(new Wrong("a folder", folder));
            all.add(new Wrong("not there", folder.resolve(Path.of("no", "such", "file"))));
        } else if (raw == Class.class) {
            all.add(new Wrong("String.class", String.class));
        } else if (raw == SortedMap.class) {
            all.add(new Wrong("empty map", new TreeMap<>()));
        } else if (raw.isArray()) {
            all.add(new Wrong("empty array", Array.newInstance(raw.getComponentType(), 0)));
            if (!raw.getComponentType().isPrimitive()) {
                all.add(new Wrong("array of null", Array.newInstance(raw.getComponentType(), 1)));
            }
        } else if (raw == Object.class) {
            all.add(new Wrong("[[1], null]", new float[][] {{1}, null}));
            all.add(new Wrong("ragged", new float[][] {{1}, {1, 2}}));
        }
        return all;
    }

    private static Buffer shortBuffer(Class<?> type) {
        if (type == FloatBuffer.class) {
            return FloatBuffer.allocate(2);
        }
        if (type == DoubleBuffer.class) {
            return DoubleBuffer.allocate(2);
        }
        if (type == LongBuffer.class) {
            return LongBuffer.allocate(2);
        }
        return type == IntBuffer.class ? IntBuffer.allocate(2) : ByteBuffer.allocate(8);
    }

    private static List<Wrong> tensors() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}).view(2, 3);
        Tensor closed = x.copy();
        closed.close();
        return List.of(
                new Wrong("closed", closed),
                new Wrong("0-d", Tensor.scalar(1.5, DType.FLOAT32)),
                new Wrong("empty", Tensor.zeros(0, 3)),
                new Wrong("vector of 5", Tensor.zeros(5)),
                new Wrong("rank 4", Tensor.zeros(1, 2, 3, 4)),
                new Wrong("int64", x.to(DType.INT64)),
                new Wrong("bool", x.to(DType.BOOL)),
                new Wrong("float64", x.to(DType.FLOAT64)),
                new Wrong("meta", Tensor.meta(x)),
                new Wrong("leaf", x.copy().requiresGrad(true)),
                new Wrong("expanded", Tensor.zeros(1, 3).expand(2, 3)),
                new Wrong("of indices far out", Tensor.full(1e6, 2, 3).to(DType.INT64)),
                new Wrong("of negative indices", Tensor.full(-1e6, 2).to(DType.INT64)));
    }

    /** A wrong argument, and what it is called. */
    record Wrong(String name, Object value) {}

    static Class<?> raw(Type type) {
        if (type instanceof Class<?> c) {
            return c;
        }
        if (type instanceof ParameterizedType p) {
            return (Class<?>) p.getRawType();
        }
        if (type instanceof java.lang.reflect.GenericArrayType a) {
            return Array.newInstance(raw(a.getGenericComponentType()), 0).getClass();
        }
        if (type instanceof java.lang.reflect.TypeVariable<?> v) {
            return raw(v.getBounds()[0]);
        }
        if (type instanceof java.lang.reflect.WildcardType w) {
            return raw(w.getUpperBounds()[0]);
        }
        return Object.class;
    }
}
