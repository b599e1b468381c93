package redisserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const orphanEnv = "REDISPROC_TEST_ORPHAN"

// TestNodes_DieWithTheirParent runs this test binary again as a parent that
// starts a node, and kills it.
func TestNodes_DieWithTheirParent(t *testing.T) {
	if _, err := Available(); err != nil {
		t.Skip(err)
	}
	tmp := t.TempDir() // the killed parent cannot clean up
	parent := exec.Command(os.Args[0], "-test.run=^TestNodes_ParentThatIsKilled$")
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
	_ = parent.Wait() // the error is that it was killed
	pid, ok := strings.CutPrefix(strings.TrimSpace(line), "pid ")
	if !ok {
		t.Fatalf("the parent printed %q: %v", line, readErr)
	}

	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("redis-server %s outlived its parent by %v", pid, startTimeout)
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

// alive reports whether a process runs. A zombie does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestNodes_ParentThatIsKilled is the parent in TestNodes_DieWithTheirParent.
func TestNodes_ParentThatIsKilled(t *testing.T) {
	if os.Getenv(orphanEnv) == "" {
		t.Skip("it is run by TestNodes_DieWithTheirParent")
	}
	s := start(t, 1, Options{})
	fmt.Printf("pid %d\n", s.nodes[0].proc.pid)
	select {} // until it is killed
}

// The loader logs an error about a library that it cannot preload.
func TestOptions_Env_ReachesTheServer(t *testing.T) {
	s := start(t, 2, Options{Env: func(i int) []string { return []string{"LD_PRELOAD=/nowhere/" + strconv.Itoa(i)} }})
	for i := range s.Len() {
		log, err := os.ReadFile(filepath.Join(s.Dir(i), "redis.log"))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("'/nowhere/%d'", i); !strings.Contains(string(log), want) {
			t.Errorf("the log of node %d does not mention %s:\n%s", i, want, log)
		}
	}
}

// A node's own disk is full once the node has written that much, and disappears
// with the process.
func TestOptions_Disk_IsFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a disk needs root")
	}
	s := start(t, 1, Options{Persist: true, Disk: "4m"})
	c := client(t, s.URLs()[0], nil)
	ctx := t.Context()
	if err := c.Set(ctx, "k", strings.Repeat("x", 6<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(ctx, "k", "", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "MISCONF") {
		t.Errorf("a write to a full disk: %v, want MISCONF", err)
	}
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	if n, err := client(t, s.URLs()[0], nil).DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("after a restart there are %d keys, %v", n, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), s.dir) {
		t.Errorf("the disk is also mounted outside (%v)", err)
	}
}
