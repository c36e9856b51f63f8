// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Prints expressions as maths; beyond a screenful, subexpressions used more than once get names. */
final class ExprPrinter {
    private static final double LONG = 120;

    private final Map<Expr, String> names = new HashMap<>();

    private ExprPrinter() {}

    static String print(Expr root) {
        ExprPrinter printer = new ExprPrinter();
        List<Expr> order = Traversal.postorder(List.of(root));
        Map<Expr, Double> sizes = new HashMap<>();
        Map<Expr, Integer> uses = new HashMap<>();
        for (Expr node : order) {
            double size = 1;
            for (Expr operand : node.operands()) {
                size += sizes.getOrDefault(operand, 1.0);
                uses.merge(operand, 1, Integer::sum);
            }
            sizes.put(node, size);
        }
        StringBuilder text = new StringBuilder();
        if (sizes.getOrDefault(root, 1.0) > LONG) {
            for (Expr node : order) {
                if (uses.getOrDefault(node, 0) > 1 && !node.operands().isEmpty()) {
                    String name = "t" + printer.names.size();
                    text.append(name)
                            .append(" = ")
                            .append(printer.show(node, 0))
                            .append("; ");
                    printer.names.put(node, name);
                }
            }
        }
        return text.append(printer.show(root, 0)).toString();
    }

    private String show(Expr e, int context) {
        String name = names.get(e);
        if (name != null) {
            return name;
        }
        if (e instanceof Variable v) {
            return v.name();
        }
        if (e instanceof Constant c) {
            return number(c);
        }
        if (e instanceof Cast cast) {
            return cast.dtype() + "(" + show(cast.operand(), 0) + ")";
        }
        if (e instanceof Call call) {
            return call.function() + arguments(call);
        }
        return show((Apply) e, context);
    }

    private String show(Apply e, int context) {
        Opcode op = e.op();
        if (op == Opcode.NEG) {
            return "-" + show(e.operands().get(0), 4);
        }
        String symbol = symbol(op);
        if (symbol.isEmpty()) {
            return (op == Opcode.SELECT ? "where" : op.toString()) + arguments(e);
        }
        int level = op.group() == Opcode.Group.COMPARISON ? 1 : op == Opcode.ADD || op == Opcode.SUB ? 2 : 3;
        String text = show(e.operands().get(0), level) + " " + symbol + " "
                + show(e.operands().get(1), level + 1);
        return level < context ? "(" + text + ")" : text;
    }

    private String arguments(Expr e) {
        StringBuilder text = new StringBuilder("(");
        for (Expr operand : e.operands()) {
            text.append(text.length() > 1 ? ", " : "").append(show(operand, 0));
        }
        return text.append(")").toString();
    }

    private static String number(Constant c) {
        return switch (c.kind()) {
            case BOOLEAN -> String.valueOf(c.longValue() != 0);
            case INTEGRAL -> String.valueOf(c.longValue());
            case FLOATING -> String.valueOf(c.doubleValue());
        };
    }

    private static String symbol(Opcode op) {
        return switch (op) {
            case ADD -> "+";
            case SUB -> "-";
            case MUL -> "*";
            case DIV -> "/";
            case EQ -> "==";
            case NE -> "!=";
            case LT -> "<";
            case LE -> "<=";
            case GT -> ">";
            case GE -> ">=";
            default -> "";
        };
    }
}
