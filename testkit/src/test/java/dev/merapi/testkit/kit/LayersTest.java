// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The arrows between core's packages: types ← storage ← the engine ← what people build models with. */
@Tag("once")
class LayersTest {
    private static final JavaClasses CORE = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages("dev.merapi")
            .that(com.tngtech.archunit.base.DescribedPredicate.describe(
                    "are in core",
                    c -> !c.getPackageName().startsWith("dev.merapi.testkit")
                            && !c.getPackageName().startsWith("dev.merapi.cpu")
                            && !c.getPackageName().startsWith("dev.merapi.cuda")));

    private static final String[] ENGINE = {
        "dev.merapi.tensor..",
        "dev.merapi.op..",
        "dev.merapi.dispatch..",
        "dev.merapi.backend..",
        "dev.merapi.device..",
        "dev.merapi.layer..",
        "dev.merapi.expr..",
        "dev.merapi.ops..",
        "dev.merapi.autograd..",
        "dev.merapi.random..",
        "dev.merapi.reference..",
        "dev.merapi.check.."
    };
    private static final String[] MODELS = {
        "dev.merapi.nn..", "dev.merapi.optim..", "dev.merapi.data..", "dev.merapi.io..", "dev.merapi.train.."
    };

    @Test
    void typesStandOnNothingButErrors() {
        classes()
                .that()
                .resideInAPackage("dev.merapi.types..")
                .should()
                .onlyDependOnClassesThat()
                .resideInAnyPackage("dev.merapi.types..", "dev.merapi.error..", "java..", "org.jspecify..")
                .check(CORE);
        classes()
                .that()
                .resideInAPackage("dev.merapi.error..")
                .should()
                .onlyDependOnClassesThat()
                .resideInAnyPackage("dev.merapi.error..", "java..", "org.jspecify..")
                .check(CORE);
    }

    @Test
    void storageKnowsTypesAndRawMemoryOnly() {
        classes()
                .that()
                .resideInAnyPackage("dev.merapi.storage..", "dev.merapi.memory..")
                .should()
                .onlyDependOnClassesThat()
                .resideInAnyPackage(
                        "dev.merapi.storage..",
                        "dev.merapi.memory..",
                        "dev.merapi.types..",
                        "dev.merapi.error..",
                        "java..",
                        "org.jspecify..",
                        "org.slf4j..")
                .check(CORE);
    }

    @Test
    void theEngineDoesNotKnowWhatIsBuiltOnIt() {
        noClasses()
                .that()
                .resideInAnyPackage(ENGINE)
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(MODELS)
                .check(CORE);
    }

    @Test
    void expressionsKnowNoTensors() {
        noClasses()
                .that()
                .resideInAPackage("dev.merapi.expr..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "dev.merapi.tensor..",
                        "dev.merapi.op..",
                        "dev.merapi.ops..",
                        "dev.merapi.dispatch..",
                        "dev.merapi.autograd..",
                        "dev.merapi.storage..")
                .check(CORE);
    }

    @Test
    void coreSeesNoNatives() {
        noClasses()
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("org.bytedeco..", "sun.misc..", "dev.merapi.cpu..", "dev.merapi.cuda..")
                .check(CORE);
    }

    @Test
    void kernelsKnowNoGraph() {
        noClasses()
                .that()
                .resideInAPackage("dev.merapi.reference..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("dev.merapi.autograd..")
                .check(CORE);
    }
}
