"use client";
import { useEffect } from "react";
import { main } from "../main.mjs";
import { report } from "../report.js";

export default function Page() {
  useEffect(() => {
    report(async () => main());
  }, []);
}
