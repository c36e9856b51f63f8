// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Parses and evaluates program texts an element at a time, from the format's description alone: it shares no code with
 * the program or its interpreter. Refuses anything malformed.
 */
final class TextEvaluator {
    private static final Pattern STEP =
            Pattern.compile("r(\\d+) = ([a-z0-9_]+)(?:\\.([a-z0-9]+))?(?:\\.([a-z0-9]+))?((?: \\S+)*)");
    private static final Pattern STORE = Pattern.compile("store (\\d+) r(\\d+)");
    private static final Pattern DECLARATION = Pattern.compile("(in|out) (\\d+) (f32|f64|f16|bf16|i32|i64|u8|bool)");

    private record Step(int dst, String op, String type, String to, List<String> operands) {}

    private final List<String> inputs = new ArrayList<>();
    private final List<String> outputs = new ArrayList<>();
    private final List<Step> steps = new ArrayList<>();
    private final Map<Integer, Integer> stores = new HashMap<>();
    private final Map<Integer, String> types = new HashMap<>();

    TextEvaluator(String text) {
        for (String line : text.split("\n")) {
            Matcher declaration = DECLARATION.matcher(line);
            Matcher store = STORE.matcher(line);
            Matcher step = STEP.matcher(line);
            if (declaration.matches()) {
                List<String> into = declaration.group(1).equals("in") ? inputs : outputs;
                require(Integer.parseInt(declaration.group(2)) == into.size() && steps.isEmpty(), line);
                into.add(declaration.group(3));
            } else if (store.matches()) {
                int output = Integer.parseInt(store.group(1));
                String stored = types.get(Integer.parseInt(store.group(2)));
                require(register(outputs.get(output)).equals(stored), line);
                require(stores.put(output, Integer.parseInt(store.group(2))) == null, line);
            } else {
                require(step.matches() && stores.isEmpty(), line);
                parse(line, step);
            }
        }
        require(stores.size() == outputs.size(), "an output is not stored");
    }

    private void parse(String line, Matcher m) {
        int dst = Integer.parseInt(m.group(1));
        List<String> operands = List.of(m.group(5).trim().split(" "));
        String op = m.group(2);
        String type = op.equals("load") ? register(inputs.get(Integer.parseInt(operands.get(0)))) : m.group(3);
        require(dst < 64 && type != null, line);
        boolean leaf = op.equals("load") || op.equals("const") || op.equals("scalar");
        for (int k = 0; k < operands.size() && !leaf; k++) {
            int r = Integer.parseInt(operands.get(k).substring(1));
            String wanted = op.equals("select") && k == 0 ? "bool" : type;
            require(operands.get(k).equals("r" + r) && r != dst && wanted.equals(types.get(r)), line);
        }
        String result = op.equals("cast") ? m.group(4) : isPredicate(op) ? "bool" : type;
        String before = types.put(dst, result);
        require(before == null || before.equals(result), "a register changes its type: " + line);
        steps.add(new Step(dst, op, type, result, operands));
    }

    private static boolean isPredicate(String op) {
        return List.of("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "not")
                .contains(op);
    }

    private static String register(String storage) {
        return switch (storage) {
            case "f16", "bf16" -> "f32";
            case "u8", "i8", "i16" -> "i32";
            default -> storage;
        };
    }

    private static void require(boolean ok, String line) {
        if (!ok) {
            throw new AssertionError("malformed: " + line);
        }
    }

    /** The outputs for one element of each input; floating values unrounded. */
    Number[] evaluate(Number... elements) {
        Map<Integer, Number> r = new HashMap<>();
        for (Step step : steps) {
            r.put(step.dst(), value(step, r, elements));
        }
        Number[] results = new Number[outputs.size()];
        stores.forEach((output, from) -> results[output] = r.get(from));
        return results;
    }

    private static Number value(Step step, Map<Integer, Number> r, Number[] elements) {
        String first = step.operands().get(0);
        switch (step.op()) {
            case "load":
                return elements[Integer.parseInt(first)];
            case "const":
                long bits = Long.parseUnsignedLong(first.substring(2), 16);
                return switch (step.type()) {
                    case "f32" -> (double) Float.intBitsToFloat((int) bits);
                    case "f64" -> Double.longBitsToDouble(bits);
                    case "i32" -> (long) (int) bits;
                    default -> bits;
                };
            default:
                Number[] x = step.operands().stream()
                        .map(operand -> r.get(Integer.parseInt(operand.substring(1))))
                        .toArray(Number[]::new);
                if (step.op().equals("select")) {
                    return x[0].longValue() != 0 ? x[1] : x[2];
                }
                if (step.op().equals("cast")) {
                    return cast(x[0], step.type(), step.to());
                }
                return step.type().startsWith("f") ? real(step.op(), x) : whole(step.op(), step.type(), x);
        }
    }

    private static Number cast(Number x, String from, String to) {
        boolean real = from.startsWith("f");
        return switch (to) {
            case "f32" -> real ? (double) x.floatValue() : (double) (float) x.longValue();
            case "f64" -> real ? x.doubleValue() : (double) x.longValue();
            case "i32" -> real ? (long) (int) x.doubleValue() : (long) (int) x.longValue();
            case "i64" -> real ? (long) x.doubleValue() : x.longValue();
            default -> real ? truth(x.doubleValue() != 0) : truth(x.longValue() != 0);
        };
    }

    private static long truth(boolean b) {
        return b ? 1 : 0;
    }

    private static Number real(String op, Number[] x) {
        double a = x[0].doubleValue();
        double b = x.length > 1 ? x[1].doubleValue() : 0;
        return switch (op) {
            case "neg" -> -a;
            case "abs" -> Math.abs(a);
            case "sign" -> a == 0 || a != a ? a : a < 0 ? -1.0 : 1.0;
            case "square" -> a * a;
            case "relu" -> a < 0 ? 0.0 : a;
            case "floor" -> Math.floor(a);
            case "reciprocal" -> 1 / a;
            case "sqrt" -> Math.sqrt(a);
            case "exp" -> Math.exp(a);
            case "log" -> Math.log(a);
            case "tanh" -> Math.tanh(a);
            case "sin" -> Math.sin(a);
            case "sigmoid" -> a < 0 ? Math.exp(a) / (1 + Math.exp(a)) : 1 / (1 + Math.exp(-a));
            case "isnan" -> truth(a != a);
            case "add" -> a + b;
            case "sub" -> a - b;
            case "mul" -> a * b;
            case "div" -> a / b;
            case "min" -> Math.min(a, b);
            case "max" -> Math.max(a, b);
            case "pow" -> Math.pow(a, b);
            case "eq" -> truth(a == b);
            case "ne" -> truth(a != b);
            case "lt" -> truth(a < b);
            case "le" -> truth(a <= b);
            case "gt" -> truth(a > b);
            case "ge" -> truth(a >= b);
            default -> throw new AssertionError("unknown floating op " + op);
        };
    }

    private static Number whole(String op, String type, Number[] x) {
        long a = x[0].longValue();
        long b = x.length > 1 ? x[1].longValue() : 0;
        long value = switch (op) {
            case "neg" -> -a;
            case "abs" -> Math.abs(a);
            case "sign" -> Long.signum(a);
            case "square" -> a * a;
            case "relu" -> Math.max(a, 0);
            case "wrapu8" -> a & 0xff;
            case "wrapi8" -> (byte) a;
            case "wrapi16" -> (short) a;
            case "not" -> 1 - a;
            case "bitnot" -> ~a;
            case "add" -> a + b;
            case "sub" -> a - b;
            case "mul" -> a * b;
            case "min" -> Math.min(a, b);
            case "max" -> Math.max(a, b);
            case "and" -> a & b;
            case "or" -> a | b;
            case "xor" -> a ^ b;
            case "floordiv" -> b == 0 ? 0 : Math.floorDiv(a, b);
            case "rem" -> b == 0 ? 0 : Math.floorMod(a, b);
            case "eq" -> truth(a == b);
            case "ne" -> truth(a != b);
            case "lt" -> truth(a < b);
            case "le" -> truth(a <= b);
            case "gt" -> truth(a > b);
            case "ge" -> truth(a >= b);
            default -> throw new AssertionError("unknown integer op " + op);
        };
        return type.equals("i32") && !isPredicate(op) ? (long) (int) value : (Long) value;
    }
}
