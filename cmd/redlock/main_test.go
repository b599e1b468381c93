package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// as is the variable that selects the role of this binary when a test starts
// it: the program itself, or a command that it runs.
const as = "REDLOCK_TEST_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(as) {
	case "redlock":
		os.Exit(execute(os.Args[1:]))
	case "command":
		os.Exit(command(os.Args[1:]))
	}
	redis.SetLogger(silent{})
	passIgnoredSignals()
	os.Exit(harness.Run(m, removePlain))
}

// plainProgram builds the program without the race detector, with which a
// program takes four times as long to start. The first part of the tests uses
// it. The second part starts the test binary, and so detects races in the
// program.
var plainProgram = sync.OnceValues(func() (exe string, err error) {
	if plainDir, err = os.MkdirTemp("", "redlock-plain-"); err != nil {
		return "", err
	}
	exe = filepath.Join(plainDir, "redlock.exe")
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", exe, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return exe, err
})

var plainDir string

func removePlain() {
	if plainDir != "" {
		_ = os.RemoveAll(plainDir)
	}
}

// theProgram returns the program that launch starts.
func theProgram() (string, error) {
	if os.Getenv("REDLOCK_TEST_PART") == "first" {
		return plainProgram()
	}
	return os.Executable()
}

// passIgnoredSignals makes the programs that tests start receive the usual
// signals, even if nohup or a shell's & has made this process ignore some: a
// child inherits ignored signals, but not caught ones.
func passIgnoredSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

func TestHelp_ExplainsTheCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string // on either output
	}{
		{[]string{"--help"}, 0, "Run a command while holding a lock."},
		{[]string{"run", "--help"}, 0, "76 the lock was lost"},
		{[]string{"demo", "--help"}, 0, "1 one was broken"},
		{[]string{"dev", "--help"}, 0, "in memory"},
		{[]string{"--version"}, 0, "redlock "},
		{nil, 2, `expected one of "demo", "dev", "run"`},
		{[]string{"rum"}, 2, `did you mean "run"`},
		{[]string{"run", "--nope", "key", "true"}, 2, "unknown flag --nope"},
		{[]string{"run"}, 2, "see redlock run --help"},
		{[]string{"run", "key"}, 2, "<CMD>"},
		{[]string{"run", "key", "--"}, 2, "no command, as in: redlock run KEY"},
		{[]string{"run", "", "--", "true"}, 2, "KEY is empty"},
		{[]string{"run", "a", "", "--", "true"}, 2, "KEY is empty"},
		{[]string{"run", "--once", "a", "b", "--", "true"}, 2, "--once: takes one KEY and no --read; you named 2 keys"},
		{[]string{"run", "--ttl", "61s", "key", "true"}, 2, "--ttl 1m1s: longer than 1m0s"},
		{[]string{"run", "--ttl", "750ms", "key", "true"}, 2, "--ttl 750ms: must exceed 750ms, three times NodeTimeout"},
		{[]string{"run", "--wait=-1s", "key", "true"}, 2, "--wait -1s: negative"},
		{[]string{"run", "--wait=1s", "--no-wait", "key", "true"}, 2, "can't be used together"},
		{[]string{"run", "--grace=-1s", "key", "true"}, 2, "--grace -1s: negative"},
		{[]string{"run", "-E", "256", "key", "true"}, 2, "must be from 0 to 255"},
		{[]string{"demo", "--duration", "1s"}, 2, "from 5s to 1m"},
		{[]string{"dev", "-n", "0"}, 2, "from 1 to 101"},
		{[]string{"dev", "--port", "65535"}, 2, "between 1 and 65535"},
		{[]string{"--help"}, 0, "Take a lock away from its holder."},
		{[]string{"ls", "--help"}, 0, "+scan"},
		{[]string{"inspect", "--help"}, 0, "3 it is free"},
		{[]string{"nodes", "--help"}, 0, "noeviction"},
		{[]string{"doctor", "--help"}, 0, "1 danger"},
		{[]string{"release", "--help"}, 0, "No token is used twice"},
		{[]string{"top", "--help"}, 0, "Ctrl-C or q ends it"},
		{[]string{"bench", "--help"}, 0, "expires within two minutes"},
		{[]string{"completion", "--help"}, 0, "source <(redlock completion bash)"},
		{[]string{"ls"}, 2, "no nodes configured"},
		{[]string{"ls", "--output", "xml"}, 2, "see redlock ls --help"},
		{[]string{"inspect"}, 2, "<KEY>"},
		{[]string{"release", "order:42"}, 2, "--force"},
		{[]string{"release", "--force", "-o", "json", "order:42"}, 2, "--output json: cannot ask for confirmation; add --yes"},
		{[]string{"top", "--every", "1ms"}, 2, "--every 1ms: too often; at least 100ms"},
		{[]string{"bench", "--duration", "1ms"}, 2, "--duration 1ms: from 400ms to 10m"},
		{[]string{"bench", "-c", "0"}, 2, "from 1 to 4096 workers"},
		{[]string{"completion", "tcsh"}, 2, "bash"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil, tt.args...)
			p.exit(tt.code)
			all := p.stdout.String() + p.stderr.String()
			if oneLine := strings.Join(strings.Fields(all), " ") + " "; !strings.Contains(oneLine, tt.want) {
				t.Errorf("no %q in:\n%s", tt.want, all)
			}
		})
	}
}
