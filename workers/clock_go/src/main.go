// The sample worker at /clock/go: a page, a JSON answer and an event stream, with nothing but Go's
// standard library. tqserver takes the route off, so paths here start at /.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// period is the time between two events of the stream.
const period = 200 * time.Millisecond

func main() {
	log.SetFlags(0) // the journal has its own time for every line
	told, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer forget()

	mux := http.NewServeMux()
	mux.HandleFunc("/", page)
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/time", now)
	mux.HandleFunc("/ticks", func(w http.ResponseWriter, r *http.Request) { ticks(w, r, told.Done()) })

	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	notify("READY=1")
	log.Printf("serving on %s", listener.Addr())

	select {
	case err := <-failed:
		log.Fatal(err)
	case <-told.Done():
		notify("STOPPING=1")
		server.Shutdown(context.Background()) // returns when what is in flight is through
		log.Print("stopped")
	}
}

type moment struct {
	Worker     string `json:"worker"`
	Generation string `json:"generation"`
	Time       string `json:"time"`
}

func current() moment {
	return moment{os.Getenv("TQ_WORKER"), os.Getenv("TQ_GENERATION"), time.Now().UTC().Format(time.RFC3339Nano)}
}

// page answers GET / with private/page.html, which is read anew each time: change it and reload.
func page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	file := filepath.Join(os.Getenv("TQ_WORKER_BASE"), "private", "page.html")
	parsed, err := template.ParseFiles(file)
	if err != nil {
		log.Print(err)
		http.Error(w, "the page cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Links start where clients see the worker.
	prefix := r.Header.Get("X-Forwarded-Prefix")
	if err := parsed.Execute(w, map[string]any{"Now": current(), "Prefix": prefix}); err != nil {
		log.Print(err)
	}
}

// now answers GET /time.
func now(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(current())
}

// ticks answers GET /ticks with events, until the client goes or the worker is told to stop.
func ticks(w http.ResponseWriter, r *http.Request, told <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		event, _ := json.Marshal(current())
		fmt.Fprintf(w, "data: %s\n\n", event)
		w.(http.Flusher).Flush()
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		case <-told:
			return
		}
	}
}

// notify sends a message to systemd, if it is there (sd_notify(3)).
func notify(message string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	socket, err := net.Dial("unixgram", path)
	if err != nil {
		log.Fatal(err)
	}
	defer socket.Close()
	if _, err := socket.Write([]byte(message)); err != nil {
		log.Fatal(err)
	}
}
