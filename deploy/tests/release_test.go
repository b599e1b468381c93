package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// The workflows run make targets that exist, so that what they run can be run by
// everybody.
func TestWorkflows_RunMakeTargets(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(harness.ReadFile(t, "../../Makefile"), -1) {
		targets[m[1]] = true
	}
	called := map[string]bool{}
	for _, file := range files {
		var workflow struct {
			Jobs map[string]struct {
				Steps []struct{ Run, Uses string }
			}
		}
		if err := yaml.Unmarshal([]byte(harness.ReadFile(t, file)), &workflow); err != nil {
			t.Fatal(err)
		}
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				if step.Run == "" && step.Uses == "" {
					t.Errorf("%s: a step of %s does nothing", file, name)
				}
				target, ok := strings.CutPrefix(step.Run, "make ")
				if !ok {
					if strings.Contains(step.Run, "go ") {
						t.Errorf("%s: %s runs %q, which no make target does", file, name, step.Run)
					}
					continue
				}
				target, _, _ = strings.Cut(target, " ")
				called[target] = true
				if !targets[target] {
					t.Errorf("%s: %s runs make %s, which is no target", file, name, target)
				}
			}
		}
	}
	for _, target := range []string{"test", "gate", "servers", "gate-full", "image"} {
		if !called[target] {
			t.Errorf("no workflow runs make %s", target)
		}
	}
}

// A release passes all tests on real servers first, which take an image of Debian
// and root to install, and no newer push ends it.
func TestWorkflows_AReleaseIsTestedOnRealServers(t *testing.T) {
	type workflow struct {
		Concurrency struct {
			Group  string
			Cancel any `json:"cancel-in-progress"`
		}
		Jobs map[string]struct {
			Uses, Container, If string
			Needs               any
		}
	}
	parse := func(name string) (w workflow) {
		err := yaml.Unmarshal([]byte(harness.ReadFile(t, "../../.github/workflows/"+name)), &w)
		if err != nil || w.Concurrency.Group == "" {
			t.Fatalf("%s: %v, concurrency %+v", name, err, w.Concurrency)
		}
		return w
	}
	release, test := parse("release.yml"), parse("test.yml")
	if release.Concurrency.Cancel != false || test.Concurrency.Cancel != "${{ github.ref_type != 'tag' }}" {
		t.Errorf("runs are cancelled where release.yml says %v, test.yml %v", release.Concurrency.Cancel, test.Concurrency.Cancel)
	}
	for name, job := range release.Jobs {
		if uses := job.Uses == "./.github/workflows/test.yml"; uses == (job.Needs == "test") {
			t.Errorf("release.yml: %s uses %q and needs %v", name, job.Uses, job.Needs)
		}
	}
	for name, job := range test.Jobs {
		if job.Container != "debian:bookworm" || job.If != "" && !strings.Contains(job.If, "github.ref_type == 'tag'") {
			t.Errorf("test.yml: %s runs in %q, if %q", name, job.Container, job.If)
		}
	}
}

// All ways to build a release set the variables that --version prints.
func TestRelease_EveryBuildNamesItsVersion(t *testing.T) {
	if !strings.Contains(harness.ReadFile(t, "../../cmd/redlock/version.go"), "\nvar release, commit string\n") {
		t.Fatal("cmd/redlock has no variables of these names")
	}
	for _, file := range []string{"Makefile", ".goreleaser.yaml"} {
		text := harness.ReadFile(t, filepath.Join("../..", file))
		for _, want := range []string{"-X main.release=", "-X main.commit=", "CGO_ENABLED=0"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s builds without %s", file, want)
			}
		}
	}
}

// An archive has the license, the pages and the completion scripts, which a hook
// writes; every name in its list leads to a file.
func TestRelease_ArchivesHaveWhatTheyName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hook needs a POSIX shell")
	}
	var release struct {
		Before   struct{ Hooks []string }
		Archives []struct{ Files []string }
	}
	err := yaml.Unmarshal([]byte(harness.ReadFile(t, "../../.goreleaser.yaml")), &release)
	if err != nil || len(release.Before.Hooks) != 2 || len(release.Archives) != 1 {
		t.Fatalf("%v, %+v", err, release)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "go") // prints its arguments
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	hook := exec.CommandContext(t.Context(), "sh", "-c", release.Before.Hooks[1])
	hook.Dir, hook.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := hook.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := harness.ReadFile(t, filepath.Join(dir, "completions", "redlock."+shell)); got != "run ./cmd/redlock completion "+shell+"\n" {
			t.Errorf("the completion of %s is made by go %s", shell, got)
		}
	}
	for _, want := range []string{"LICENSE", "README.md", "completions/*", "docs/*.md"} {
		if !slices.Contains(release.Archives[0].Files, want) {
			t.Errorf("the archives lack %s", want)
		}
	}
	for _, pattern := range release.Archives[0].Files {
		root := "../.."
		if strings.HasPrefix(pattern, "completions/") {
			root = dir
		}
		if found, err := filepath.Glob(filepath.Join(root, pattern)); err != nil || len(found) == 0 {
			t.Errorf("the archives name %s, and there is none: %v", pattern, err)
		}
	}
}

// The image is that of a user who is not root, with nothing in it but the program.
func TestDockerfile_IsFromScratchAndNotRoot(t *testing.T) {
	text := harness.ReadFile(t, "../../Dockerfile")
	_, last, ok := strings.Cut(text, "\nFROM scratch\n")
	if !ok || strings.Contains(last, "\nFROM ") {
		t.Fatal("the last stage is not from scratch")
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(last)
	if user == nil || user[1] == "0" || user[2] == "0" {
		t.Errorf("it runs as %q", user)
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1) {
		if host, _, found := strings.Cut(m[1], "/"); found && strings.ContainsAny(host, ".:") {
			t.Errorf("the image %s is of a registry", m[1])
		}
	}
}
