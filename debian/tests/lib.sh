# What the tests share: who deploys, and a project with one worker. Sourced.
set -eu

deploy_dir=/var/lib/tqserver/deploy
project=/srv/tqserver-autopkgtest

fail() {
    echo "FAILED: $*" >&2
    journalctl --unit tqserver --unit tq-launcher --unit 'tq-worker@*' --no-pager --lines 60 >&2 || true
    exit 1
}

# expect ANSWER URL: curl's options go last.
expect() {
    wanted=$1
    shift
    got=$(curl --silent --show-error --max-time 60 "$@") || fail "no answer from $*"
    [ "$got" = "$wanted" ] || fail "$*: wanted \"$wanted\", got \"$got\""
}

as_deployer() {
    runuser --user deployer -- "$@"
}

# deploy TEXT: a deployment whose worker "index" answers TEXT, built by a user who may only that.
deploy() {
    if [ ! -d "$project" ]; then
        adduser --quiet --system --group deployer
        adduser --quiet deployer tqserver-deploy
        install --directory --owner=deployer "$project"
        as_deployer mkdir -p "$project/config" "$project/workers/index/config" \
            "$project/workers/index/src"
        as_deployer git -C "$project" init --quiet
        echo /workers/index/bin | as_deployer tee "$project/.gitignore" >/dev/null
        echo "workers: { manifest_file: $deploy_dir/manifest.json }" |
            as_deployer tee "$project/config/server.yaml" >/dev/null
        printf '%s\n' 'run: [/usr/bin/python3, bin/main.py]' 'build: install -D src/main.py bin/main.py' 'ready: http' |
            as_deployer tee "$project/workers/index/config/worker.yaml" >/dev/null
    fi
    as_deployer tee "$project/workers/index/src/main.py" >/dev/null <<END
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"$1"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
END
    as_deployer git -C "$project" add --all
    as_deployer git -C "$project" -c user.name=d -c user.email=d@localhost commit --quiet --allow-empty \
        --message "Answer $1"
    as_deployer tqctl --root "$project" build
    systemctl start tqserver.service
    systemctl reload tqserver.service || fail "the deployment does not serve"
}
