// A web server of node's: one thread for all connections, and a pool of four for the files and for what is compressed.
'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');
const zlib = require('zlib');

const [address, root, work] = process.argv.slice(2);
const [host, port] = address.split(':');

function answer(response, error, body, head) {
    if (error) {
        response.writeHead(404, { 'Content-Length': 0 });
        response.end();
        return;
    }
    response.writeHead(200, { 'Content-Length': body.length, ...head });
    response.end(body);
}

const server = http.createServer((request, response) => {
    fs.readFile(path.join(root, path.basename(request.url)), (error, body) => {
        if (error || work !== 'gzip') {
            answer(response, error, body, {});
            return;
        }
        zlib.gzip(body, (error, packed) => answer(response, error, packed, { 'Content-Encoding': 'gzip' }));
    });
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), host);
