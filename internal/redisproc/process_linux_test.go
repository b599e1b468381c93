package redisproc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const orphanEnv = "REDISPROC_TEST_ORPHAN"

// TestNodesDieWithTheirParent runs this test binary again as a parent that
// starts a node, and kills it.
func TestNodesDieWithTheirParent(t *testing.T) {
	if _, err := Available(); err != nil {
		t.Skip(err)
	}
	tmp := t.TempDir() // the killed parent cannot clean up
	parent := exec.Command(os.Args[0], "-test.run=^TestParentOfAnOrphan$")
	parent.Env = append(os.Environ(), orphanEnv+"=1", "TMPDIR="+tmp)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = parent.Wait() // says that it was killed
	pid, ok := strings.CutPrefix(strings.TrimSpace(line), "pid ")
	if !ok {
		t.Fatalf("the parent printed %q: %v", line, readErr)
	}

	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("redis-server %s outlived its parent by 10 s", pid)
			kill(t, pid)
			return
		}
	}
}

func kill(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// alive reports whether a process runs; one that waits to be reaped does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestParentOfAnOrphan is the parent in TestNodesDieWithTheirParent.
func TestParentOfAnOrphan(t *testing.T) {
	if os.Getenv(orphanEnv) == "" {
		t.Skip("it is run by TestNodesDieWithTheirParent")
	}
	s := start(t, 1, Options{})
	fmt.Printf("pid %d\n", s.nodes[0].proc.pid)
	select {} // until it is killed
}
